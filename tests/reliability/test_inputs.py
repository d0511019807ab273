"""Inputs as people have them, from ../shared/cases/inputs: the right number, or the clear word."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipelines import Embeddings, Run, evaluate, import_embeddings, rerank_k_reciprocal, score
from pipelines.artifacts.graph import load_graphs
from pipelines.artifacts.ranking import load_ranking
from pipelines.config import EvaluateConfig
from pipelines.data.catalogue import open_dataset
from pipelines.data.images import UnreadableImage, read_image
from pipelines.errors import BadInput
from pipelines.gallery.index_file import open_index
from pipelines.stages.check_data import check_data

CASES = Path(__file__).parents[3] / "shared" / "cases" / "inputs"


@pytest.fixture
def case(tmp_path, request):
    """A case's folder with its files made, the copy of one in ../shared."""
    source = CASES / request.param
    if not source.is_dir():
        pytest.skip(f"{source} is not here")
    folder = shutil.copytree(source, tmp_path / request.param, copy_function=shutil.copyfile)
    subprocess.run([sys.executable, "make.py"], cwd=folder, check=True)
    return folder


def baseline(folder, *files, recorder=None):
    run = Run(folder / f"run-{files[0]}")
    progress = {"progress": recorder} if recorder else {}
    import_embeddings(run, [folder / file for file in files], **progress)
    return evaluate(run, config=EvaluateConfig(refine=("none",)), device="cpu")


@pytest.mark.parametrize("case", ["underscore_pids"], indirect=True)
def test_an_underscore_separates_no_thousands(case, recorder):
    named = baseline(case, "x.npy", "x.csv", recorder=recorder)
    right = baseline(case, "right.npy", "right.csv")
    assert named.results[0].mAP == right.results[0].mAP
    assert any("named by text" in warning for warning in recorder.warnings)


@pytest.mark.parametrize("case", ["labels_as_text_or_float"], indirect=True)
@pytest.mark.parametrize(
    "files",
    [
        ("strpid.npy", "strpid.csv"),
        ("floatpid.npy", "floatpid.csv"),
        ("floatcam.npy", "floatcam.csv"),
        ("strcam.npy", "strcam.csv"),
        ("strpid.npz",),
        ("floatpid.npz",),
    ],
)
def test_labels_are_read_as_text_and_as_numbers(case, files):
    plain = baseline(case, "floatpid.npz").results[0]
    found = baseline(case, *files).results[0]
    if files[0] == "floatcam.npy":  # one camera of three is not known there
        assert found.mAP != plain.mAP
    else:
        assert found.mAP == plain.mAP


@pytest.mark.parametrize("case", ["cameras_partly_unknown"], indirect=True)
def test_cameras_known_for_some_rows_are_counted(case):
    assert not any("camera is unknown" in note for note in baseline(case, "all.npz").notes)
    notes = baseline(case, "half.npz").notes
    half = np.load(case / "half.npz")
    lost = [int((half[f"{split}_camids"] < 0).sum()) for split in ("query", "gallery")]
    said = f"unknown for {lost[0]} of 45 queries and {lost[1]} of 135 gallery items"
    assert any(said in note for note in notes), notes


@pytest.mark.parametrize("case", ["junk_not_left_out"], indirect=True)
def test_junk_is_known_however_it_is_written(case):
    for kind in ("ints", "floats", "names"):
        data = open_dataset("csv", case / kind)
        assert data.junk == 8, kind
        assert {sample.pid for sample in data.split("gallery")} != {-1}
        assert all(
            sample.pid >= 0 for split in data.filled_splits() for sample in data.split(split)
        )


@pytest.mark.parametrize("case", ["query_in_gallery"], indirect=True)
def test_a_querys_own_picture_in_the_gallery_is_told(case):
    findings = check_data("folder", root=case / "own").findings
    assert any("a query's picture in the gallery too" in finding.what for finding in findings)


def test_a_query_bit_for_bit_in_the_gallery_is_told(tmp_path):
    random = np.random.default_rng(0)
    rows = {split: random.normal(size=(12, 8)).astype(np.float32) for split in ("query", "gallery")}
    rows["gallery"][3] = rows["query"][5]
    pids = np.arange(12) % 4
    arrays = {f"{split}_features": rows[split] for split in rows}
    arrays |= {f"{split}_pids": pids for split in rows}
    np.savez(tmp_path / "one.npz", **arrays)
    notes = baseline(tmp_path, "one.npz").notes
    assert any("1 of 12 queries stand in the gallery too" in note for note in notes), notes
    cameras = {f"{split}_camids": np.zeros(12, int) for split in rows}
    cameras["gallery_camids"] = np.ones(12, int)
    cameras["gallery_camids"][3], arrays["gallery_pids"] = 0, pids.copy()
    arrays["gallery_pids"][3] = pids[5]  # its own person and camera: the protocol skips it
    np.savez(tmp_path / "two.npz", **arrays, **cameras)
    assert not any("stand in the gallery" in note for note in baseline(tmp_path, "two.npz").notes)


@pytest.mark.parametrize("case", ["image_endings_ignored"], indirect=True)
def test_every_ending_of_an_image_is_read(case):
    for kind in ("half", "ppm"):
        data = open_dataset("market1501", case / kind)
        assert {split: len(data.split(split)) for split in data.filled_splits()} == {
            "train": 32,
            "query": 12,
            "gallery": 24,
        }


def test_reranking_of_a_query_that_shares_no_neighbour():
    random = np.random.default_rng(0)
    centres = random.normal(size=(5, 16))
    rows = np.repeat(centres, 40, 0) + 0.05 * random.normal(size=(200, 16))
    gallery = Embeddings(rows, np.repeat(np.arange(5), 40), [1] * 200)
    query = Embeddings(random.normal(size=(1, 16)), [1], [0])
    distances = rerank_k_reciprocal(query, gallery, k2=1)
    assert distances.shape == (1, 200) and np.isfinite(distances).all()
    assert score(query, gallery, distances=distances).valid_queries == 1


HOSTILE = CASES.parent / "reliability"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    if not (HOSTILE / "make.py").is_file():
        pytest.skip(f"{HOSTILE} is not here")
    folder = tmp_path_factory.mktemp("hostile")
    subprocess.run([sys.executable, HOSTILE / "make.py", folder], check=True)
    for name in ("eps.jpg", "hang43.h5", "segfault.mat"):
        shutil.copyfile(HOSTILE / name, folder / name)
    return folder


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("external_link.h5", "is a link; data of the file's own is wanted"),
        ("external_storage.h5", "is stored in other files"),
        ("virtual_dataset.h5", "is stored in other files"),
        ("storage_on_a_fifo.h5", "is stored in other files"),
        ("external_storage_7_3.mat", "is stored in other files"),
        ("labels_bomb.npz", "12 features but 800000000 pids"),
        ("hang43.h5", "hang43.h5"),
        ("segfault.mat", "segfault.mat"),
        ("a_fifo", "a_fifo"),
    ],
)
def test_what_reads_more_than_itself_is_refused_quickly(hostile, name, reason):
    """In a process of its own: some of them crash or hang a reader that is not careful."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
        "from pipelines import Run, import_embeddings, PipelineError\n"
        f"try:\n    import_embeddings(Run({str(hostile / 'run')!r}), [{str(hostile / name)!r}])\n"
        "except PipelineError as error:\n    print('REFUSED', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-400:]
    assert "REFUSED" in done.stdout
    assert re.search(reason, done.stdout)


def test_a_program_named_jpg_is_not_run(hostile):
    with pytest.raises(UnreadableImage, match="no image"):
        read_image(hostile / "eps.jpg")


@pytest.mark.parametrize("way", ["external", "link", "virtual"])
@pytest.mark.parametrize("name", ["index.h5", "graph.h5", "ranking.h5"])
def test_an_artifact_that_points_elsewhere_is_refused(tmp_path, name, way):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(96))
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["pids"] = np.zeros(12, np.int64)
    with h5py.File(tmp_path / name, "w") as file:
        if way == "external":
            file.create_dataset("pids", (12,), "i8", external=[(str(secret), 0, 96)])
        elif way == "link":
            file["pids"] = h5py.ExternalLink("secret.h5", "/pids")
        else:
            layout = h5py.VirtualLayout((12,), "i8")
            layout[:] = h5py.VirtualSource("secret.h5", "pids", (12,))
            file.create_virtual_dataset("pids", layout)
    readers = {"index.h5": open_index, "graph.h5": load_graphs, "ranking.h5": load_ranking}
    arguments = () if name != "ranking.h5" else ("baseline",)
    with pytest.raises(BadInput, match=r"is stored in other files|is a link"):
        readers[name](tmp_path / name, *arguments)
