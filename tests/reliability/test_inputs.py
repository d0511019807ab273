"""What is said of inputs that mislead or attack; the files of ../shared/cases/reliability."""

import runpy
import shutil
import sys

import h5py
import numpy as np
import pytest
from helpers.processes import run_apart

from pipelines import Embeddings, Run, evaluate, import_embeddings, rerank_k_reciprocal, score
from pipelines.artifacts.graph import load_graphs
from pipelines.artifacts.ranking import load_ranking
from pipelines.config import EvaluateConfig
from pipelines.errors import BadInput
from pipelines.gallery.index_file import open_index


def notes_of(folder, file):
    """What a baseline of imported embeddings is told with."""
    run = Run(folder / f"run-{file}")
    import_embeddings(run, [folder / file])
    return evaluate(run, config=EvaluateConfig(refine=("none",)), device="cpu").notes


def test_a_querys_own_numbers_in_the_gallery_are_told(tmp_path):
    random = np.random.default_rng(0)
    rows = {split: random.normal(size=(12, 8)).astype(np.float32) for split in ("query", "gallery")}
    rows["gallery"][3] = rows["query"][5]
    pids = np.arange(12) % 4
    arrays = {f"{split}_features": rows[split] for split in rows}
    arrays |= {f"{split}_pids": pids for split in rows}
    np.savez(tmp_path / "one.npz", **arrays)
    notes = notes_of(tmp_path, "one.npz")
    assert any("1 of 12 queries stand in the gallery too" in note for note in notes), notes
    for noise, told in ((1e-6, True), (1e-2, False)):  # another batch; another picture
        moved = rows["query"][5] + noise * random.normal(size=8).astype(np.float32)
        rows["gallery"][3] = moved.astype(np.float32) * 2  # lengths do not count
        np.savez(tmp_path / f"{noise}.npz", **arrays)
        notes = notes_of(tmp_path, f"{noise}.npz")
        assert any("stand in the gallery too" in note for note in notes) == told, (noise, notes)
    rows["gallery"][3] = rows["query"][5]
    cameras = {f"{split}_camids": np.zeros(12, int) for split in rows}
    cameras["gallery_camids"] = np.ones(12, int)
    cameras["gallery_camids"][3], arrays["gallery_pids"] = 0, pids.copy()
    arrays["gallery_pids"][3] = pids[5]  # its own person and camera: the protocol skips it
    np.savez(tmp_path / "two.npz", **arrays, **cameras)
    assert not any("stand in the gallery" in note for note in notes_of(tmp_path, "two.npz"))


def test_reranking_of_a_query_that_shares_no_neighbour():
    random = np.random.default_rng(0)
    centres = random.normal(size=(5, 16))
    rows = np.repeat(centres, 40, 0) + 0.05 * random.normal(size=(200, 16))
    gallery = Embeddings(rows, np.repeat(np.arange(5), 40), [1] * 200)
    query = Embeddings(random.normal(size=(1, 16)), [1], [0])
    distances = rerank_k_reciprocal(query, gallery, k2=1)
    assert distances.shape == (1, 200) and np.isfinite(distances).all()
    assert score(query, gallery, distances=distances).valid_queries == 1


# By file, why it is refused.
HOSTILE = {
    "external_link.h5": "/train/features is a link; data of the file's own is wanted",
    "external_storage.h5": "/train/pids is stored in other files",
    "virtual_dataset.h5": "/train/features is stored in other files",
    "storage_on_a_fifo.h5": "/train/camids is stored in other files",
    "external_storage_7_3.mat": "/gallery_label is stored in other files",
    "names_outside_of_the_root.npz": "row 0 has a name that leads out of the images' folder: '../",
    "surrogate_names.npz": "row 0 has a name that is no text: 'a\\udcff.jpg'",
    "labels_bomb.npz": "split gallery: 12 features but 800000000 pids",
    "secret.h5": "has no embeddings: its keys are features",
    "secret.bin": ".bin is no kind of file that is read",
    "a_fifo": "is a named pipe; a file of embeddings is wanted",
    "eps.jpg": "it is no image of a known kind",
    "hang43.h5": "is damaged",
    "segfault.mat": "is damaged: its reader crashes on it",
    "kr_outlier.py": ".py is no kind of file that is read",
}


def test_what_is_hostile_is_refused_in_a_line(tmp_path, monkeypatch, shared):
    source = shared("cases/reliability")
    monkeypatch.setattr(sys, "argv", ["make.py", str(tmp_path)])
    runpy.run_path(str(source / "make.py"), run_name="__main__")
    for path in source.iterdir():
        if path.name != "make.py":
            shutil.copyfile(path, tmp_path / path.name)
    assert {path.name for path in tmp_path.iterdir()} == set(HOSTILE)
    (tmp_path / "own/train/1").mkdir(parents=True)
    shutil.copyfile(source / "eps.jpg", tmp_path / "own/train/1/eps.jpg")
    commands = [
        ["pack", "folder", "--root", "own", "--run", "run"]
        if name == "eps.jpg"
        else ["import-embeddings", name, "--run", "run"]
        for name in HOSTILE
    ]
    for (name, reason), ended in zip(
        HOSTILE.items(), run_apart(commands, folder=tmp_path), strict=True
    ):
        assert ended.code == 2, (name, ended)
        *notes, line = ended.err.strip().splitlines()
        assert all("own: " in note for note in notes)  # what was understood of the folder
        assert line.startswith("error: ") and name in line and reason in line
        assert ended.peak < 1024, (name, ended)


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
