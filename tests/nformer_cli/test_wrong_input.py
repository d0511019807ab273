"""Wrong names, paths and settings are one line and exit code 2, found before PyTorch is loaded."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipelines import Run, save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.embeddings import Embeddings

TWO_NAMES = b"a/1.jpga/2.jpg"
ROOT = Path(__file__).parents[2]
# Runs lines in one process that refuses to load torch; writes [line, exit code, stdout, stderr].
DRIVER = """
import builtins, contextlib, io, json, shlex, sys
load = builtins.__import__
def lightly(name, *rest, **more):
    if name.split(".")[0] in ("torch", "torchvision", "faiss"):
        raise RuntimeError(f"loads {name}")
    return load(name, *rest, **more)
builtins.__import__ = lightly
from nformer_cli import console
from nformer_cli.main import main
for line in json.load(sys.stdin):
    out, err, code = io.StringIO(), io.StringIO(), None
    console.out.file, console.err.file = out, err
    sys.argv = ["nformer", *shlex.split(line)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
        except Exception as error:
            code = repr(error)
    print(json.dumps([line, code, out.getvalue(), err.getvalue()]))
"""
WRONG = """
train-backbone nothing                                  | 'nothing' is no data set known here
train-backbone market1501 --root {none}                 | is not there; --root
train-backbone market1501 --root {set} --arch resnet5O  | spelled like it: resnet50
train-backbone market1501 --root {set} --arch osnet_x9  | spelled like it: osnet_x1_0
train-backbone market1501 --root {set} --arch mlfn      | nformer extract --arch mlfn --weights FILE
train-backbone market1501 --root {set} --weights {none} | no such file; wanted imagenet, none, or
train-backbone market1501 --root {set} --weights {text} | --weights {text} is no PyTorch file
train-backbone market1501 --root {set} --set epoch=3    | did you mean epochs?
train-backbone market1501 --root {set} --set epochs=ten | 'ten' is no whole number
train-backbone market1501 --root {set} --recipe nothing | known are demo, laptop, paper, released
train-backbone market1501 --root {set} --device gpu     | use auto, cpu, cuda, cuda:0 or mps
train-nformer --run {run} --log wandb                   | wanted tensorboard; train.jsonl
extract --run {empty}                                   | backbone.pt is not there; make it with:
extract --run {empty}                                   | Or embed with a network as it is: --onnx
extract --run {empty} --set heigth=3                    | did you mean height?
extract --run {empty} --arch osnet_x9 --weights imagenet | --arch osnet_x9: no such network
extract --run {empty} --arch resnet50 --weights {none}  | no such file; a file of weights is wanted
extract --run {empty} --arch resnet50 --weights {text}  | is no PyTorch file; a file of weights
extract --run {empty} --onnx {none}                     | a network in ONNX format is wanted
train-nformer --run {empty}                             | with: nformer extract --run {empty}
train-nformer --run {run} --graph nope                  | 'nope' is none of 'cosine', 'affinity'
evaluate --run {empty}                                  | with: nformer extract --run {empty}
evaluate --run {run} --k1 1_0                           | '--k1': '1_0' is not a whole number in
evaluate --run {run} --k1=١٠                             | '--k1': '١٠' is not a whole number in
evaluate --run {run} --set k1=1_0                       | '1_0' is no whole number
reproduce table1 --run {run} --seeds 1_0                | '--seeds': '1_0' is not a whole number
benchmark accuracy --seeds 1_0                          | '--seeds': '1_0' is not a whole number
train-backbone market1501 --root {set} --lr 1_0         | '--lr': '1_0' is not a number in plain
check-data folder --root {set} --split 0_1              | '--split': '0_1' is not a number in plain
index --run {run} --seed 1_0                            | '--seed': '1_0' is not a whole number
search {picture} --run {done} --threshold 0_1           | --threshold 0_1: wanted auto, or a
evaluate --run {empty} --will-it-help                   | with: nformer extract --run {empty}
evaluate --run {run} --rerank nope                      | known are kr, kr-isolated, cajaccard, gnn
evaluate --run {run} --refine nope                      | --refine nope: unknown; known are nformer,
evaluate --run {run} --model {none}                     | an nformer.pt is wanted
evaluate --run {run} --model {text}                     | is no PyTorch file; an nformer.pt is
evaluate --run {run} --protocol nope                    | none of 'isolated', 'joint'
refine --run {empty}                                    | with: nformer extract --run {empty}
check-data folder --root {none}                         | is not there; --root (or NFORMER_DATA)
check-data folder --root {set} --pattern 'x{{pid}}.jpg' | --pattern x{{pid}}.jpg fits none of the
check-data market1501 --root {empty}                    | is empty; --root
check-data csv --root {text}                            | {text}
check-data nothing                                      | 'nothing' is no data set known here
pack market1501 --root {none} --run {empty}             | is not there; --root
subsample --run {run} --images-per-identity x           | wanted whole numbers
export --run {run}                                      | backbone.pt is not there; make it with:
export --run {run} --format tflite                      | known are onnx, torchscript, safetensors
export-embeddings {none}.xyz --run {run}                | .xyz is no kind of file that is written
export-embeddings {none}.npz --run {run} --split nope   | --split nope: not known; wanted
import-embeddings {none}.npz --run {empty}              | a file of embeddings is wanted
import-nformer {none} --run {empty}                     | a file of weights (.pt, .pth,
import-nformer {text} --run {empty}                     | is no PyTorch file
report --root                                           | see nformer report --help
report --run {done} --root {none}                       | the folder of the pictures is wanted
report --run {run}                                      | with: nformer evaluate --run {run}
compare {empty} {run}                                   | with: nformer evaluate --run {empty}
reproduce table9 --run {run}                            | no table or figure of the paper; known are
reproduce table1 --run {empty}                          | with: nformer extract --run {empty}
info --run {none}                                       | begin a run with: nformer train-backbone
benchmark nope                                          | benchmark 'nope': unknown; known are
settings nope                                           | no stage with settings; known are backbone
search {text} --run {empty}                             | with: nformer index --run {empty}
search {text} --run {empty} --crop 1,2                  | wanted x,y,width,height in pixels
search {text} --run {empty} --montage {none}.txt        | wanted a name that ends in .png
cluster --index {done}/index.h5                         | was changed since it was written
cluster --run {run} --edited {done}/clusters.csv        | has no column name, identity, cluster
cluster --run {run} --edited {none}                     | --edited {none} is not there
search {picture} --run {done} --threshold auto          | has no calibration
search {picture} --run {done} --crop 9,9,9,999          | which is 16×32; wanted x,y,width,height
index --run {empty}                                     | with: nformer extract --run {empty}
index --run {run} --model {none}                        | an nformer.pt is wanted
index --run {run} --assume nope                         | none of 'auto', 'same', 'foreign'
index --run {empty} --pictures {none}                   | a folder of pictures is wanted
index --run {empty} --pictures {set}                    | has no network to embed pictures with
index --run {empty} --pictures {set} --tracks nope      | wanted mean, median, or best-K
index add {text} --run {empty}                          | with: nformer index --run {empty}
index remove x --run {empty}                            | with: nformer index --run {empty}
index remove x --run {wide}                             | matches 'x'; names look like a/1.jpg
index remove '*.jpg' --run {wide}                       | all 2 items would be removed; an index
evaluate --run {wide} --model {wide}/nformer.pt         | refines embeddings 3 wide, the run's are
index --run {wide} --model {wide}/nformer.pt            | are 2 wide; use one that was trained on
demo --run {text}                                       | is a file; a run is a folder
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    whole = Embeddings([[1.0, 2.0]] * 6, [1] * 6, range(6))
    with Run(folder / "run").writing(Manifest("embeddings.h5", "extract", {}, {})) as (path, _):
        save_embeddings(path, query=whole, gallery=whole)
    for name in ("metrics.json", "index.h5", "clusters.csv"):
        with Run(folder / "done").writing(Manifest(name, "x", {}, {})) as (path, facts):
            path.write_bytes(b"whole")
            facts.update(calibration=None)
    (folder / "done" / "clusters.csv").write_text("edited")
    for name, dim in (("embeddings.h5", 2), ("nformer.pt", 3)):
        with Run(folder / "wide").writing(Manifest(name, "x", {}, {})) as (path, facts):
            path.write_bytes(b"PK")
            facts.update(dim=dim)
    with Run(folder / "wide").writing(Manifest("index.h5", "x", {}, {})) as (path, facts):
        with h5py.File(path, "w") as file:
            file["names/ends"], file["names/text"] = [7, 14], np.frombuffer(TWO_NAMES, np.uint8)
    (folder / "empty").mkdir()
    (folder / "text").write_text("hello")
    images = write_synthetic(
        folder / "set", train_identities=3, test_identities=2, height=32, width=16
    )
    names = {name: folder / name for name in ("none", "run", "done", "wide", "empty", "text")}
    return {**names, "set": images, "picture": min(images.rglob("*.jpg"))}


def run_lines(lines, folder):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "80"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_is_one_line_without_pytorch(places, tmp_path):
    wrong = [line.split(" | ") for line in WRONG.strip().splitlines()]
    lines = [line.strip().format(**places) for line, _ in wrong]
    for (_, text), (line, code, out, err) in zip(wrong, run_lines(lines, tmp_path), strict=True):
        assert (code, out, err.count("\n")) == (2, "", 1), (line, code, err)
        assert text.strip().format(**places) in err, line


ASK_JSON = (
    "check-data nothing",
    "demo --run {text}",
    "evaluate --run {empty}",
    "search {text} --run {empty}",
    "settings nope",
    "report --run {run}",
    "compare {empty} {run}",
    "reproduce table9 --run {run}",
    "info --run {none}",
    "datasets --nonsense",
)


def test_with_json_a_failure_is_json_on_stdout(places, tmp_path):
    lines = [line.format(**places) + " --json" for line in ASK_JSON]
    for line, code, out, err in run_lines(lines, tmp_path):
        assert code == 2, line
        assert err == f"error: {json.loads(out)['error']}\n", line
