"""Files that are nearly right: keys to rename, features stored the other way round, any width."""

import numpy as np
import pytest

from pipelines.artifacts.formats.reading import read_embedding_files
from pipelines.errors import BadInput

FEATURES = np.arange(24, dtype=np.float32).reshape(4, 6)
PIDS = np.arange(4)


def read(*files, warnings=None, labelled=True):
    said = [] if warnings is None else warnings
    return read_embedding_files(list(files), said.append, labelled=labelled)


def rows(split):
    return np.concatenate(list(split.blocks()))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("q_features", "q_pids"), "rename q_features to query_features, q_pids to query_pids"),
        (("Query_Feats", "Query_PIDs"), "rename Query_Feats to query_features, Query_PIDs to"),
        (("query_feautres", "query_pids"), "Perhaps rename query_feautres to query_features"),
    ],
)
def test_keys_that_are_nearly_right_are_shown_what_they_should_be(tmp_path, keys, said):
    np.savez(tmp_path / "x.npz", **dict(zip(keys, (FEATURES, PIDS), strict=True)))
    with pytest.raises(BadInput) as error:
        read(tmp_path / "x.npz")
    assert said in str(error.value) and keys[0] in str(error.value)


@pytest.mark.parametrize("vector", [FEATURES[0], FEATURES[:1], FEATURES[:1].T])
@pytest.mark.parametrize("save", [np.save, np.savez])
def test_a_vector_to_search_with_may_lie_or_stand(tmp_path, vector, save):
    path = tmp_path / ("x.npy" if save is np.save else "x.npz")
    save(path, vector)
    ((split,),) = read(path, labelled=False).values()
    assert rows(split).tolist() == FEATURES[:1].tolist()


def test_an_npy_that_its_table_shows_to_be_turned_is_turned_and_said(tmp_path):
    np.save(tmp_path / "x.npy", FEATURES.T)
    lines = [f"{row}.jpg,{row},0,query" for row in range(4)]
    (tmp_path / "x.csv").write_text("\n".join(["path,pid,camid,split", *lines]))
    said = []
    ((split,),) = read(tmp_path / "x.npy", tmp_path / "x.csv", warnings=said).values()
    assert rows(split).tolist() == FEATURES.tolist()
    assert any("stored [d, N], (6, 4); they are turned" in text for text in said)


def test_no_width_is_too_large(tmp_path):
    np.savez(tmp_path / "x.npz", query_features=np.ones((2, 20_000), "f4"), query_pids=[0, 1])
    ((split,),) = read(tmp_path / "x.npz").values()
    assert split.dim == 20_000
