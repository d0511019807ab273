"""Every folder of ../shared/cases/inputs: the right number, or the clear sentence."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import Done, nformer

from pipelines.artifacts.checkpoints import load_untrusted
from pipelines.backbones.backbone import build_backbone
from pipelines.backbones.state_dicts import load_weights

INPUTS = "cases/inputs"
TRAIN = (
    "train-backbone {} --run {} --arch mobilenet_v2 --weights SHARED/mobilenet_v2_imagenet.pth "
    "--height 64 --width 32 --batch 8 --epochs 1 --device cpu --set instances=2 --set dim=32"
)
WEIGHTS = (
    "train-backbone folder --root own --run run --arch resnet18 --weights {} --height 32 "
    "--width 16 --batch 8 --epochs 1 --set instances=2 --set dim=32 --device cpu --overwrite"
)
PLAIN = "evaluate --run {} --refine none --no-report"
COUNTS = "│ train │ 32 │ 8 │ 2 │ │ query │ 12 │ 6 │ 2 │ │ gallery │ 24 │ 6 │ 2 │"
UNSEEN = COUNTS.replace("│ 2 │", "│ 0 │")
IMPORTED = "train │ 180 │ 20 │ 3 │ 0 │ │ query │ 45 │ 15 │ 3 │ 0 │ │ gallery │ 135 │ 15 │ 3 │"


def table(name, *said):
    """The two commands of a dialect: the counts are right, and what was recognised is said."""
    return [
        (f"check-data csv --root {name}", 0, (COUNTS, *said)),
        (f"import-embeddings {name}/data.npy {name}/data.csv --run run-{name}", 0, said),
    ]


def taken(file, count, *said):
    return (f"weights {file}", 0, (f"{count} tensors taken", *said))


def loaded(file):
    """Do of train-backbone what reads the weights; its training takes seconds a file."""
    backbone = build_backbone("resnet18", classes=8, dim=32)
    return Done(0, str(load_weights(backbone, load_untrusted(Path(file)), source=file)), "")


# By folder, its commands with their exit codes and what each must say, blanks aside.
CASES = {
    "all_stops": [
        ("import-embeddings one_each.npz --run one", 0, ()),
        (
            "evaluate --run one --all --no-report",
            0,
            (
                "baseline 71.9",
                "gcr 85.8",
                "baseline+gnn (joint) 85.2",
                "whiten left out: whiten needs",
            ),
        ),
        ("import-embeddings unlabelled.npz --run none", 0, ("180 rows of nobody",)),
        ("evaluate --run none --all --no-report", 0, ("baseline 71.9", "gcr 85.8")),
    ],
    "cameras_partly_unknown": [
        ("import-embeddings all.npz --run all", 0, (IMPORTED,)),
        (PLAIN.format("all"), 0, ("baseline 71.9",)),
        ("import-embeddings half.npz --run half", 0, ("the camera of 22 rows unknown",)),
        (PLAIN.format("half"), 0, ("unknown for 22 of 45 queries and 68 of 135 gallery items",)),
    ],
    "compare_unlike": [
        *[
            (line, 0, ())
            for name in ("cams", "nocams", "a", "b")
            for line in (f"import-embeddings {name}.npz --run {name}", PLAIN.format(name))
        ],
        ("compare cams nocams", 2, ("cams and nocams have the same items with different cameras",)),
        ("compare a b", 2, ("a and b have the same items with different identities",)),
        ("evaluate --run a --refine none --rerank kr --no-report --overwrite", 0, ()),
        ("compare a", 0, ("baseline+kr (joint)", "joint ones mix the queries")),
        ("compare a b", 2, ("with different identities",)),
    ],
    "csv_dialects": [
        *table("spaces"),
        *table("semicolon", "separated by ';'"),
        *table("tab", "separated by '\\t'"),
        *table("capitals"),
        *table("alias", "read 'image_path' as path, 'id' as pid, 'camera' as camid"),
        *table("utf16", "in UTF-16"),
        *table("trailing"),
        *table("test", "'test' is read as the gallery"),
        *table("upper"),
        *table("bigcam"),
        ("check-data csv --root absolute", 0, (COUNTS, "its paths are absolute")),
        ("import-embeddings absolute/data.npy absolute/data.csv --run run", 0, ()),
    ],
    "export_hint": [
        (TRAIN.format("folder --root own", "run"), 0, ("312 of 312 tensors taken",)),
        ("export --run run --format torchscript", 0, ("next: torch.jit.load('run/backbone.tor",)),
    ],
    "folder_test_unread": [
        ("check-data folder --root own", 0, (UNSEEN, "'test' is read as the gallery")),
        (
            "check-data folder --root own2",
            0,
            (UNSEEN, "'val' is read as the query: its people all stand in the gallery"),
        ),
    ],
    "h5_of_others": [
        ("import-embeddings --help", 0, ("(.h5 also in groups)",)),
        *[
            (f"import-embeddings {name}.h5 --run {name}", 0, (IMPORTED,))
            for name in ("flat", "groups", "nonames")
        ],
        (PLAIN.format("nonames"), 0, ("baseline 71.9",)),
    ],
    "image_endings_ignored": [
        (f"check-data market1501 --root {name}", 0, ("32 (12,936)", "12 (3,368)", "24 (15,913)"))
        for name in ("half", "ppm")
    ],
    "import_folder_not_there": [
        ("import-embeddings vectors --run run", 2, ("holds 5 .npy files without labels",)),
        (
            f"import-embeddings {' '.join(f'vectors/0001_c1_{i}.npy' for i in range(5))} --run run",
            2,
            ("vectors/0001_c1_0.npy has no labels: name a CSV of path,pid,camid,split after it",),
        ),
    ],
    "junk_not_left_out": [
        *[
            (f"check-data csv --root {name}", 0, (COUNTS, "8 junk images left out"))
            for name in ("ints", "floats", "names")
        ],
        (TRAIN.format("csv --root floats", "run"), 0, ()),
        ("extract --run run", 0, ()),
        (PLAIN.format("run"), 0, ("12 of 12 queries have a match among 24 gallery items",)),
    ],
    "labels_as_text_or_float": [
        line
        for number, (files, said) in enumerate(
            (
                ("strpid.npy strpid.csv", ("an identity is named by text",)),
                ("floatpid.npy floatpid.csv", (IMPORTED,)),
                ("floatcam.npy floatcam.csv", ("the camera of 15 rows unknown",)),
                ("strcam.npy strcam.csv", ("a camera is named by text",)),
                ("strpid.npz", (IMPORTED,)),
                ("floatpid.npz", (IMPORTED,)),
            )
        )
        for line in (
            (f"import-embeddings {files} --run run{number}", 0, said),
            (PLAIN.format(f"run{number}"), 0, () if "floatcam" in files else ("baseline 71.9",)),
        )
    ],
    "nul_in_csv": [
        ("check-data csv --root own", 2, ("own/data.csv, line 4: path 'p/00\\x0003.jpg' holds a",)),
        (TRAIN.format("csv --root own", "run"), 2, ("own/data.csv, line 4: path 'p/00\\x0003.j",)),
    ],
    "query_in_gallery": [
        ("check-data folder --root own", 0, ("a query's picture in the gallery too", "(12)")),
        (TRAIN.format("folder --root own", "run"), 0, ()),
        ("extract --run run", 0, ()),
        (PLAIN.format("run"), 0, ("12 of 12 queries stand in the gallery too",)),
    ],
    "search_needs_labels": [
        ("import-embeddings x.npz --run run", 0, (IMPORTED,)),
        ("index --run run", 0, ()),
        *[
            (f"search {name} --run run --top 1", 0, ("1 gallery/0021_c2_3.jpg 21 2 0.556",))
            for name in ("who.npy", "who.npz")
        ],
    ],
    "stdout_not_utf8": [],  # each a test below: they take a shell
    "tilde_in_run": [],
    "train_one_camera": [
        ("import-embeddings x.npz --run run", 0, ("train │ 180 │ 20 │ 1 │",)),
        ("train-nformer --run run --device cpu", 0, ("all training images are of one camera",)),
        ("evaluate --run run --no-report", 0, ("baseline 71.9", "closed form, gate 8")),
    ],
    "underscore_pids": [
        ("import-embeddings x.npy x.csv --run run", 0, ("an identity is named by text", "│ 15 │")),
        (PLAIN.format("run"), 0, ("baseline 71.9",)),
        ("import-embeddings right.npy right.csv --run right", 0, (IMPORTED,)),
        (PLAIN.format("right"), 0, ("baseline 71.9",)),
    ],
    "weights_numpy_scalar": [
        (WEIGHTS.format("model.pth.tar-60"), 0, ("weights model.pth.tar-60: 120 of 122 tensors",)),
        taken("namespace.pth", "120 of 122"),
        taken("whole.pth", "120 of 122"),
        ("import-embeddings numpy.pt --run emb", 0, ("query │ 4 │ 4 │ none known │",)),
    ],
    "weights_prefixes": [
        taken("lightning.ckpt", "120 of 122"),
        taken("compiled.pth", "120 of 122"),
        taken("ddp_compiled.pth", "120 of 122"),
        taken("backbone.pth", "120 of 120"),
        taken("deep.pth", "120 of 122"),
        taken("network.pth", "120 of 122"),
        taken("teacher.pth", "120 of 122"),
        taken("strong_baseline.pth", "120 of 125", "bottleneck.weight", "classifier.weight"),
        taken("ft_net.pth", "120 of 124"),
        (WEIGHTS.format("nan.pth"), 2, ("nan.pth: conv1.weight hold NaN or infinite values",)),
    ],
}


@pytest.fixture
def made(tmp_path, monkeypatch, shared):
    """Return a function: go to a copy of a case's folder, its inputs made."""

    def folder(name):
        place = tmp_path / name
        shutil.copytree(shared(f"{INPUTS}/{name}"), place, copy_function=shutil.copyfile)
        place.chmod(0o755)
        monkeypatch.chdir(place)
        monkeypatch.setenv("COLUMNS", "400")
        runpy.run_path(str(place / "make.py"))
        return place

    return folder


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]])
def test_a_case_ends_as_it_should(made, shared, name):
    made(name)
    for line, code, texts in CASES[name]:
        weights = "mobilenet_v2_imagenet.pth"
        line = line.replace(f"SHARED/{weights}", str(shared(f"weights/{weights}")))
        done = (
            loaded(line.removeprefix("weights "))
            if code == 0 and line[:8] == "weights "
            else nformer(line)
        )
        said = " ".join((done.out + done.err).split())
        assert done.code == code, (line, done)
        for text in texts:
            assert text in said, (line, text, said)


def in_a_shell(folder, **environment):
    """Run a case's own cmd.txt as it stands; return what it wrote."""
    name = f'nformer() {{ "{sys.executable}" -m nformer_cli.main "$@"; }}\n'
    return subprocess.run(
        ["/bin/sh", "-c", name + (folder / "cmd.txt").read_text()],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        check=False,
    )


def test_an_output_that_is_not_utf8_gets_the_table(made):
    folder = made("stdout_not_utf8")
    done = in_a_shell(folder)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    table = (folder / "table.txt").read_text(encoding="cp1252")
    assert "r-b" in table and "baseline" in table and "71.9" in table


def test_a_tilde_in_the_run_is_the_home(made):
    folder = made("tilde_in_run")
    done = in_a_shell(folder, HOME=str(folder / "home"))
    assert "embeddings.h5" in done.stderr, done
    assert (folder / "home/runs/x/embeddings.h5").is_file() and not (folder / "~").exists()


def test_every_case_is_tested(shared):
    assert {path.name for path in shared(INPUTS).iterdir() if path.is_dir()} == set(CASES)
