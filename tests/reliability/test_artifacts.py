"""Each array of each HDF5 artifact gone, of another kind or shape: refused in a sentence."""

import h5py
import numpy as np
import pytest
import torch

from pipelines.artifacts.embeddings import load_embeddings, save_embeddings
from pipelines.artifacts.graph import load_graphs, save_graphs
from pipelines.artifacts.ranking import load_query_rows, load_ranking, save_rankings
from pipelines.data.packed import PackedFile
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput
from pipelines.gallery.index import GalleryIndex
from pipelines.gallery.index_file import open_index, save_index
from pipelines.neighbours.graph import neighbour_graph
from pipelines.ranking.ranked_lists import Ranking

ROWS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
LABELS = np.arange(4)
NAMES = ["a", "b", "c", "d"]


def embeddings(path):
    save_embeddings(path, gallery=Embeddings(ROWS, LABELS, LABELS, NAMES))
    return lambda: load_embeddings(path, "gallery")


def graph(path):
    save_graphs(path, {"gallery": neighbour_graph(ROWS, 2, least=True, device="cpu")})
    return lambda: load_graphs(path)


def ranking(path):
    lists = Ranking(np.zeros((4, 2), np.int64), np.ones((4, 2), np.float32), np.eye(4, 2) > 0)
    rows = {"query_rows": LABELS, "gallery_rows": LABELS}
    save_rankings(path, {"baseline": lists}, **rows, average_precision={"baseline": np.ones(4)})
    return lambda: (load_ranking(path, "baseline"), load_query_rows(path))


def index(path):
    save_index(path, GalleryIndex(torch.from_numpy(ROWS), None, LABELS, LABELS, NAMES))
    return lambda: list(open_index(path).names)


def images(path):
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((4, 8, 8, 3), np.uint8)
        for name in ("names", "reasons"):
            file.create_dataset(name, data=np.array(NAMES, object), dtype=h5py.string_dtype())
    return lambda: PackedFile(path).image(0)


@pytest.mark.parametrize("write", [embeddings, graph, ranking, index, images])
def test_an_artifact_without_its_arrays_is_refused(tmp_path, write):
    path = tmp_path / f"{write.__name__}.h5"
    read, names = write(path), []
    read()
    sound = path.read_bytes()
    with h5py.File(path) as file:
        file.visit(lambda name: names.append(name) if hasattr(file[name], "shape") else None)
    for name in names:
        for change in (None, np.zeros((4, 2), complex), np.float32(1), np.zeros(9, np.int64)):
            path.write_bytes(sound)
            with h5py.File(path, "r+") as file:
                del file[name]
                if change is not None:
                    file[name] = change
            if change is None and name.endswith("least"):
                read()  # kept only where it was asked for
                continue
            with pytest.raises(BadInput, match=rf"^{path}"):
                read()
