"""embeddings.h5: what is written is read again, and nothing else is."""

import h5py
import numpy as np
import pytest

from pipelines.artifacts.embeddings import (
    load_embeddings,
    save_embeddings,
    saw_training_identities,
)
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.run import Run
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput


def some(rows: int, dim: int = 3) -> Embeddings:
    features = np.arange(rows * dim, dtype=np.float32).reshape(rows, dim) + 1
    return Embeddings(
        features, np.arange(rows), np.zeros(rows), [f"ä/{i}.jpg" for i in range(rows)]
    )


def test_round_trip_and_schema(tmp_path):
    path = save_embeddings(tmp_path / "e.h5", query=some(2), gallery=some(4), dataset="mine")
    read = load_embeddings(path, "gallery")
    assert read.features.tobytes() == some(4).features.tobytes()
    assert read.pids.tolist() == [0, 1, 2, 3]
    assert read.names == some(4).names
    with h5py.File(path) as file:
        assert dict(file.attrs) == {"schema": 1, "dataset": "mine", "dim": 3}
        assert sorted(file["query"]) == ["camids", "features", "names", "pids"]
        assert file["query/features"].chunks is not None


def test_whether_the_network_saw_the_training_identities_is_known_of_the_own_backbone(tmp_path):
    def made(name, inputs, **facts):
        run = Run(tmp_path / name)
        with run.writing(Manifest("backbone.pt", "train-backbone", {}, {})) as (path, told):
            path.write_bytes(b"weights")
            told.update({"dataset": "mine", "images": {"train": 4, "query": 2}})
        with run.writing(Manifest("embeddings.h5", "extract", {}, inputs)) as (path, told):
            save_embeddings(path, train=some(4))
            told.update(facts)
        return saw_training_identities(run)

    own, same = {"backbone.pt": "a"}, {"dataset": "mine", "images": {"train": 4}}
    assert made("own", own, **same)
    assert not made("other", own, dataset="other", images={"train": 4})
    assert not made("fewer", own, dataset="mine", images={"train": 3})
    assert not made("given", {"network": "a"}, **same)


def test_empty_split(tmp_path):
    path = save_embeddings(tmp_path / "e.h5", query=some(0), gallery=some(1))
    assert len(load_embeddings(path, "query")) == 0


def test_refusals(tmp_path):
    path = save_embeddings(tmp_path / "e.h5", query=some(2))
    with pytest.raises(BadInput, match=r"has no split 'train'; it has query"):
        load_embeddings(path, "train")
    with pytest.raises(BadInput, match="is not there"):
        load_embeddings(tmp_path / "none.h5", "train")
    with pytest.raises(BadInput, match="widths differ"):
        save_embeddings(tmp_path / "x.h5", query=some(2), gallery=some(2, 4))
    with pytest.raises(BadInput, match="at least one of"):
        save_embeddings(tmp_path / "x.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(BadInput, match="not a whole HDF5 file"):
        load_embeddings(tmp_path / "text.h5", "query")
    whole = path.read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"half.h5"):
        load_embeddings(tmp_path / "half.h5", "query")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = [1]
    with pytest.raises(BadInput, match="holds no embeddings of ours"):
        load_embeddings(tmp_path / "foreign.h5", "query")
