"""The first hour of a user: from raw pictures and tables to a result, by commands as typed.

What other tests drive as typed stands there: wrong paths and settings, and `--json`
(test_wrong_input), help (test_help), `python -m nformer` (test_as_nformer), tables and files of
other programs (reliability/test_cases), misuse of the library (test_misuse).
"""

import csv
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import nformer, refused
from helpers.layouts import write_image, write_images
from PIL import Image

from pipelines import Run, load_embeddings
from pipelines.artifacts.embeddings import load_labels
from pipelines.gallery.index_file import index_names

PEOPLE = ("ann", "bob", "cleo", "dan", "eve", "finn", "gus", "hana")
TINY = (
    "--arch shufflenet_v2_x0_5 --weights none --height 32 --width 16 --batch 8 --epochs 1 "
    "--device cpu --set dim=16 --set amp=off --set workers=0"
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NFORMER_RUN", raising=False)


def photograph(person: int, seed: int) -> Image.Image:
    """Draw a person as a shirt and trousers of their own, with noise."""
    colours = np.random.default_rng(person).integers(40, 215, (2, 1, 1, 3))
    pixels = np.concatenate([np.tile(colour, (8, 8, 1)) for colour in colours])
    noise = np.random.default_rng(1000 + seed).normal(0, 15, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def album(name: Callable[[str, str, int], str], times: int = 6, first: int = 0) -> None:
    """Save `times` pictures of each person as `name(person, camera, number)` says, two cameras."""
    for row, person in enumerate(PEOPLE, first):
        for number in range(times):
            path = Path(name(person, "AB"[number % 2], number))
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(row, seed=10 * row + number).save(path, format="JPEG")


def well(*lines: str) -> str:
    """Run commands that succeed, and return what they said together."""
    said = []
    for line in lines:
        done = nformer(line)
        assert done.code == 0, (line, done)
        said.append(done.out + done.err)
    return " ".join("\n".join(said).split())


def scores(run: str) -> dict[str, float]:
    found = json.loads(Path(run, "metrics.json").read_text())["results"]
    return {row["name"]: row["mAP"] for row in found}


def following(said: str) -> str:
    return said.rpartition("next: nformer ")[2]


# Own pictures: at most three commands to a table


def test_my_folder_of_identities():
    """`A_0.JPG` in a folder a person, with what archives and systems leave beside."""
    album(lambda person, camera, number: f"people/{person}/{camera}_{number}.JPG")
    write_images(Path("people/__MACOSX/ann"), ["._A_0.jpg"])
    Path("people/ann/Thumbs.db").write_bytes(b"of a system")
    Path("people/ann/._A_0.JPG").write_bytes(b"of a system")
    own = "folder --root people --split 0.5 --pattern '{pid}/{camid}_*'"
    recipe = (
        f"train-backbone {own} --run r --set instances=2 {TINY}",
        "extract --run r --device cpu",
        "evaluate --run r --all",
    )
    said = well(*recipe)
    first, table = said.index("48 names are of --pattern"), said.index("mAP")
    assert first < table, "what was understood is said before anything is computed"
    assert "baseline+kr (joint)" in said
    train, query, gallery = (
        load_embeddings("r/embeddings.h5", name) for name in ("train", "query", "gallery")
    )
    # Half of the people to train; of the others one picture a camera asks, the rest are found.
    assert (len(train), len(query), len(gallery)) == (24, 8, 16)
    assert not set(train.pids) & set(gallery.pids)
    assert set(load_labels("r/embeddings.h5").pids) == set(PEOPLE)
    options = Run("r").manifest("backbone.pt").facts["options"]
    assert options["split"] == 0.5 and options["pattern"] == "{pid}/{camid}_*"
    assert set(scores("r")) >= {"baseline", "nfc", "baseline+kr"}
    (line,) = re.findall(r"nformer (index --pictures .* --run NEW)", well("index --run r"))
    well(line)
    assert len(index_names(Path("NEW/index.h5"))) == 48


def test_my_csv_with_odd_columns():
    """Excel's: `;`, a byte order mark, CRLF, quotes, own names of columns; pictures elsewhere."""
    album(lambda person, camera, number: f"pictures/{number}, of {person}.jpeg", times=4)
    with open("list.csv", "w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file, delimiter=";", lineterminator="\r\n")
        table.writerow(["Comment", "Image", "Person ID", "Cam"])
        for person in PEOPLE:
            for number in range(4):
                table.writerow(["x;y", f"{number}, of {person}.jpeg", person, "AB"[number % 2]])
    own = "csv --root list.csv --images pictures --split 0.5"
    recipe = (
        f"train-backbone {own} --run r --set instances=2 {TINY}",
        "extract --run r --device cpu",
        "evaluate --run r --all",
    )
    said = well(*recipe)
    assert "separated by ';'" in said
    assert "read 'Image' as path, 'Person ID' as pid, 'Cam' as camid" in said
    assert said.index("as camid") < said.index("mAP")
    assert set(scores("r")) >= {"baseline", "nfc", "baseline+kr"}
    assert set(load_labels("r/embeddings.h5").camids) == {"A", "B"}


@pytest.mark.parametrize("columns", ["photo;who;gate", 'a b;"c;d";e'])
def test_columns_that_nobody_can_guess_are_named(columns):
    album(lambda person, camera, number: f"p/{person}{number}.png", times=2)
    rows = [f"p/{person}{number}.png;{person};{number}" for person in PEOPLE for number in (0, 1)]
    Path("list.csv").write_text("\n".join([columns, *rows]))
    path, pid, camid = next(csv.reader([columns], delimiter=";"))
    own = "check-data csv --root list.csv --split 0.5"
    said = nformer(own)
    assert said.code == 2 and "--columns" in said.out + said.err
    named = shlex.quote(f"path={path},pid={pid},camid={camid}")
    assert "gallery │ 4 │ 4 │" in well(f"{own} --columns {named}")


def test_a_table_whose_pictures_lie_elsewhere_asks_for_their_folder():
    album(lambda person, camera, number: f"pictures/{person}{number}.jpg", times=2)
    rows = [f"{person}{number}.jpg,{person}" for person in PEOPLE for number in (0, 1)]
    Path("list.csv").write_text("\n".join(["path,pid", *rows]))
    said = refused("train-backbone csv --root list.csv --run r")
    assert "ann0.jpg is not there; name the folder" in said and "--images DIR" in said
    well("check-data csv --root list.csv --images pictures")


@pytest.mark.parametrize(
    "line",
    [
        "check-data",
        "train-backbone",
        "pack",
        "extract --arch resnet18 --weights imagenet --dataset",
    ],
)
@pytest.mark.parametrize(
    ("place", "what", "reader"), [("my own", "folder", "folder"), ("my.csv", "table", "csv")]
)
def test_a_folder_or_a_table_for_a_data_sets_name_is_told_its_reader(line, place, what, reader):
    Path("my own").mkdir()
    Path("my.csv").write_text("path,pid\n")
    assert refused(f"{line} {shlex.quote(place)}") == (
        f"error: '{place}' is no data set known here but a {what}; give its reader, {reader}, and "
        f"the {what} as --root. To look at it first: nformer check-data {reader} --root "
        f"{shlex.quote(place)}"
    )


def test_a_table_is_called_by_its_file():
    album(lambda person, camera, number: f"{person}{number}.jpg", times=2)
    rows = [f"{Path(f'{person}{n}.jpg').absolute()},{person}" for person in PEOPLE for n in (0, 1)]
    Path("list.csv").write_text("\n".join(["path,pid", *rows]))
    said = well("check-data csv --root .")
    assert "csv at list.csv" in said
    assert f"its paths are absolute; they are read below {Path().absolute()}" in said
    rows = [f"{person}{n}.jpg,{person},{n}" for person in PEOPLE for n in (0, 1)]
    rows = [f"{row[:-1]}{('query', 'gallery')[int(row[-1])]}" for row in rows]
    Path("list.csv").write_text("\n".join(["path,pid,split", *rows]))
    said = refused("train-backbone csv --root . --run r")
    assert "csv at list.csv has no train images; it has query, gallery" in said


def test_cameras_that_names_may_hold_are_pointed_out():
    album(lambda person, camera, number: f"own/{person}/cam{number % 2}_{number}.jpg")
    said = well("check-data folder --root own")
    assert "such as ann/cam0_0.jpg; none is known" in said
    (pattern,) = re.findall(r"--camera-pattern '(.*?)'", said)
    assert "train │ 24 │ 4 │ 2 │" in well(
        f"check-data folder --root own --camera-pattern '{pattern}'"
    )


@pytest.mark.parametrize(
    ("wrong", "read"),
    [("{pid}_{camid}.jpg", "one identity and 48 cameras"), ("{pid}.jpg", "48 identities")],
)
def test_a_pattern_that_reads_names_at_the_wrong_place_is_doubted(wrong, read):
    album(lambda person, camera, number: f"flat/img_{person}_{camera}_{number}.jpg")
    own = f"folder --root flat --pattern '{wrong}'"
    checked, trained = nformer(f"check-data {own}"), nformer(f"train-backbone {own} --run r {TINY}")
    assert checked.code == 0 and "warning" in checked.out
    for said in (checked, trained):
        text = " ".join((said.out + said.err).split())
        assert f"48 images are read as of {read}" in text and "change --pattern {pid}" in text


def test_the_same_options_on_every_command_that_reads_pictures():
    """A flat folder with ids in the names, half of the people, a picture of each asks."""
    album(lambda person, camera, number: f"flat/{person}_{camera}_{number}.jpg")
    own = "--root flat --pattern '{pid}_{camid}_*' --split 0.5 --queries identity"
    counts = "train │ 24 │ 4 │ 2 │ │ query │ 4 │ 4 │"
    assert counts in well(f"check-data folder {own}")
    well(f"pack folder {own} --run r --height 32 --width 16")
    said = well(
        f"train-backbone folder {own} --run r --set instances=2 {TINY}",
        f"extract --dataset folder {own} --run r --device cpu",
    )
    assert "images from r/images.h5" in said
    assert len(load_embeddings("r/embeddings.h5", "query")) == 4


def test_what_lies_in_a_root_and_is_not_read_is_named():
    album(lambda person, camera, number: f"own/train/{person}/{number}.jpg", times=2)
    album(lambda person, camera, number: f"own/test/{person}2/{number}.jpg", 2, first=8)
    write_image(Path("own/extra/ann/1.jpg"))
    said = well("check-data folder --root own")
    assert "not read: extra/" in said
    assert "gallery │ 8 │ 8 │" in said  # test/, of which queries were drawn


def test_files_that_are_no_pictures_are_counted():
    album(lambda person, camera, number: f"own/{person}/{number}.jpg")
    others = ("Thumbs.db", "ann/._0.jpg", "ann/notes.txt", "bob/.DS_Store", "bob/a.heic")
    for name in others:
        Path("own", name).touch()
    Path("own/.git").mkdir()
    Path("own/.git/config").touch()
    said = well("check-data folder --root own --split 0.5")
    assert "4 files are no pictures: .DS_Store, ._0.jpg, Thumbs.db, notes.txt" in said
    assert "not read, for their endings: 1 .heic" in said
    for name in others[1:]:
        Path("own", name).unlink()
    assert "1 file is no picture: Thumbs.db" in well("check-data folder --root own --split 0.5")


# The command line


def test_every_next_command_works_as_it_stands():
    """From a folder to a search, typing what each command names next."""
    album(lambda person, camera, number: f"my own/{person}/{camera}{number}.jpg")
    own = "folder --root 'my own' --split 0.5 --pattern '{pid}/{camid}*'"
    line = f"check-data {own}"
    well(line)
    line = f"train-backbone {own} --run 'my run' --set instances=2 {TINY}"
    typed = []
    while not line.startswith("search"):
        typed.append(line.split()[0])
        done = nformer(line)
        assert done.code == 0, (line, done)
        line = following(done.err.strip())
        if typed[-1] == "evaluate":
            line = following(nformer("index --run 'my run'").err.strip())
    assert typed == ["train-backbone", "extract", "train-nformer", "evaluate"]
    assert "--run 'my run'" in line
    said = well(line.replace("IMAGE", "'my own/ann/A0.jpg'") + " --top 2 --device cpu")
    assert any(person in said for person in PEOPLE), "people keep their names"


@pytest.mark.slow
def test_a_network_that_was_given_searches_what_it_embedded():
    """After extract --onnx, next is what is true: the index is searched with a picture by it."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    album(lambda person, camera, number: f"own/{person}/{camera}{number}.jpg")
    own = "folder --root own --split 0.5 --pattern '{pid}/{camid}*'"
    well(
        f"train-backbone {own} --run net --set instances=2 {TINY}",
        "export --run net --format onnx",
        f"extract --onnx net/backbone.onnx --dataset {own} --run r --device cpu",
    )
    line = following(well("index --run r"))
    assert line == "search IMAGE --run r"
    well(line.replace("IMAGE", "own/ann/A0.jpg") + " --top 1")


def test_completion_is_there_and_in_the_manual(monkeypatch):
    with monkeypatch.context() as shell:  # what a shell sets; --show-completion looks for one
        shell.setenv("_NFORMER_COMPLETE", "source_bash")
        assert "_nformer_completion" in nformer("").out
    assert "--install-completion bash" in nformer("manual start").out


def test_a_batch_larger_than_the_set_is_cut_and_said():
    album(lambda person, camera, number: f"own/{person}/{number}.jpg")
    said = well(
        "train-backbone folder --root own --split 0.5 --run r --set instances=2 "
        + TINY.replace("--batch 8", "--batch 512")
    )
    assert "batches of 8 images instead of 512" in said


def test_images_left_out_in_training_are_left_out_by_the_next_command():
    album(lambda person, camera, number: f"own/{person}/{number}.jpg")
    Path("own/ann/0.jpg").write_bytes(b"no picture")
    line = f"folder --root own --split 0.5 --set instances=2 {TINY} --run r"
    line = f"train-backbone {line} --overwrite"
    bad = Path("own").resolve()
    check = f"nformer check-data folder --root {bad} --split 0.5"
    failed = nformer(line)
    assert failed.code == 2 and check in failed.err
    done = nformer(f"{line} --on-bad-image skip")
    assert done.code == 0 and following(done.err) == "extract --on-bad-image skip --run r\n"
    assert "1 image could not be read and was left out" in done.err
    failed = nformer("extract --run r --device cpu")
    assert failed.code == 2 and check in failed.err
    well(following(done.err) + " --device cpu")


def embeddings(name: str, *, people: int = 12, times: int = 4, spread: float = 1.0) -> None:
    """Save an .npz: training people, and others of whom each has `times` in the gallery."""
    random = np.random.default_rng(0)
    arrays = {}
    for first, split, count in ((0, "train", 4), (100, "query", 1), (100, "gallery", times)):
        pids = np.repeat(np.arange(first, first + people), count)
        centres = np.random.default_rng(first).normal(size=(people, 16))
        rows = centres[pids - first] + spread * random.normal(size=(len(pids), 16))
        arrays |= {f"{split}_features": rows, f"{split}_pids": pids}
    np.savez(name, **arrays)


def test_what_lowers_map_is_named():
    """With one picture of a person in the gallery, averaging neighbours mixes people."""
    embeddings("one.npz", people=40, times=1, spread=1.5)
    said = well("import-embeddings one.npz --run r", "evaluate --run r --refine aqe --no-report")
    assert "Lower mAP, by more than the error (95 %): aqe" in said
    assert "Keep the baseline" in said


def test_settings_are_listed_and_recipes_named():
    said = well("settings nformer")
    assert "neighbours" in said and "landmarks" in said and "released" in said
    for command, section in (("train-backbone", "backbone"), ("train-nformer", "nformer")):
        assert nformer(f"settings {command}").out == nformer(f"settings {section}").out
    values = json.loads(nformer("settings nformer --json").out)["nformer"]
    assert (values["seed"]["values"], values["gamma"]["values"]) == ("at least 0", "from 0 to 1")
    assert "known are backbone, extract, pack" in refused("settings train")
    assert "paper" in well("train-nformer --help") and "laptop" in well("train-backbone --help")


def test_training_is_logged_for_tensorboard():
    pytest.importorskip("tensorboard")
    embeddings("e.npz")
    well("import-embeddings e.npz --run r")
    well(
        "train-nformer --run r --steps 2 --no-closed-form --set held_out=0 --log tensorboard "
        "--device cpu"
    )
    assert list(Path("r").rglob("events.out.tfevents*"))


def test_a_figure_that_is_nearly_named_is_found():
    embeddings("e.npz")
    arrays = dict(np.load("e.npz"))
    renamed = {key.replace("_pids", "_persons"): value for key, value in arrays.items()}
    np.savez("nearly.npz", **renamed)
    said = refused("import-embeddings nearly.npz --run r")
    assert "rename gallery_persons to gallery_pids, query_persons to query_pids" in said


def test_keys_of_other_programs_are_renamed_each_to_its_own():
    embeddings("e.npz")
    arrays = dict(np.load("e.npz"))
    words = {"features": "X", "pids": "y"}
    other = {}
    for key, value in arrays.items():
        split, _, field = key.partition("_")
        other[f"{words[field]}_{split}"] = value
    np.savez("other.npz", **other)
    said = refused("import-embeddings other.npz --run r")
    for split in ("gallery", "query", "train"):
        assert f"X_{split} to {split}_features" in said and f"y_{split} to {split}_pids" in said


def test_training_embeddings_alone_are_said_to_rank_nothing():
    embeddings("e.npz")
    arrays = {key: value for key, value in np.load("e.npz").items() if key.startswith("train")}
    np.savez("train.npz", **arrays)
    assert "there is no gallery among them (train)" in well("import-embeddings train.npz --run r")


def test_an_import_counts_its_splits_in_their_order_one_camera_as_one():
    embeddings("e.npz", people=1, times=2)
    arrays = dict(np.load("e.npz"))
    cameras = {"train_camids": [1] * 4, "query_camids": [0], "gallery_camids": [0, 1]}
    np.savez("e.npz", **arrays, **cameras)
    said = well("import-embeddings e.npz --run r")
    assert "float64, 1 identity, 1 camera," in said and "1 identity, 2 cameras" in said
    rows = [said.index(f"│ {split} │") for split in ("train", "query", "gallery")]
    assert rows == sorted(rows)


def test_a_run_that_is_not_there_is_named():
    assert "nor is its folder (--run)" in refused("evaluate --run runs/nothere")


def test_what_lowers_rank_1_beside_a_gain_of_map_is_said():
    from pipelines.artifacts.results import ResultRow
    from pipelines.evaluation.plan import verdict

    figures = {"mINP": 0.5, "rank5": 0.9, "rank10": 0.9, "seconds": 0.0}
    rows = [
        ResultRow(name="baseline", mAP=0.6, rank1=0.93, **figures),
        ResultRow(name="nformer", mAP=0.78, rank1=0.80, **figures),
    ]
    assert "+18.0 over the baseline (rank-1 -13.0)" in verdict(rows)[0]


# The rest of the hour


@pytest.fixture
def evaluated():
    embeddings("e.npz")
    well("import-embeddings e.npz --run runs/a", "evaluate --run runs/a --refine nfc")
    return Path("runs/a")


def test_two_runs_are_compared(evaluated):
    arrays = dict(np.load("e.npz"))
    np.savez("b.npz", **arrays | {"query_features": arrays["query_features"] ** 2})
    well("import-embeddings b.npz --run runs/b", "evaluate --run runs/b --refine aqe")
    said = well("compare runs/a runs/b")
    assert "runs/a" in said and "runs/b" in said and "baseline" in said


def test_accuracies_are_in_per_cent_in_messages_as_in_tables(evaluated):
    """JSON has fractions of 1, whatever a person reads has 52.1."""
    said = well("train-nformer --run runs/a", "evaluate --run runs/a --all", "info --run runs/a")
    figures = re.findall(r"(?:mAP|before,|without,|gain|±) [+-]?(\d+\.\d*)", said)
    assert len(figures) >= 8 and all(re.fullmatch(r"\d+\.\d", figure) for figure in figures)
    assert 0 < scores("runs/a")["baseline"] < 1 < max(map(float, figures))


def test_a_run_moves_with_its_folder(evaluated):
    shutil.move("runs/a", "elsewhere")
    said = well("evaluate --run elsewhere --refine nfc", "info --run elsewhere")
    assert "elsewhere/metrics.json is up to date" in said
    said += well("index --run elsewhere")
    assert "stale" not in said and "damaged" not in said


def test_a_failure_can_be_looked_at(evaluated):
    page = Path("runs/a/report.html").read_text()
    assert page.count("0000000") and "query" in page
    assert len(page) < 15e6


@pytest.mark.slow
def test_ctrl_c_loses_nothing():
    """A training interrupted after an epoch says so, and goes on from there."""
    album(lambda person, camera, number: f"own/{person}/{number}.jpg")
    line = "train-backbone folder --root own --split 0.5 --run r --set instances=2 " + TINY.replace(
        "--epochs 1", "--epochs 40"
    )
    command = [sys.executable, "-m", "nformer_cli.main", *shlex.split(line)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs, and all that they start, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    state = Path("r/.unfinished/backbone.pt")
    patience = time.monotonic() + 120
    while not (state / "progress.json").exists():
        assert process.poll() is None and time.monotonic() < patience, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert re.search(r"interrupted; epoch \d+ of 40 is kept, the same command goes on", said)
    assert "Traceback" not in said
    told = " ".join(well("info --run r").split())
    assert f"go on with: nformer {shlex.join(command[3:])}" in told
    other = refused(line.replace("instances=2", "instances=3"))
    assert "with other settings or images; go on with: nformer train-backbone folder" in other
    assert "Or begin anew: add --overwrite" in other
    assert "going on after epoch" in well(line)
