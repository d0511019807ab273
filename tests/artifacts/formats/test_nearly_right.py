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


def said_of(path, *keys):
    np.savez(path, **{key: FEATURES if "f" in key[:3] else PIDS for key in keys})
    with pytest.raises(BadInput) as error:
        read(path)
    return str(error.value)


def test_all_short_names_of_a_file_are_renamed_at_once(tmp_path):
    said = said_of(tmp_path / "x.npz", "qf", "q_pids", "q_camids", "gf", "g_pids", "g_camids")
    assert said.endswith(
        "Perhaps rename g_camids to gallery_camids, g_pids to gallery_pids, gf to "
        "gallery_features, q_camids to query_camids, q_pids to query_pids, qf to query_features"
    )
    half = said_of(tmp_path / "y.npz", "qf", "query_pids", "gf", "g_pids")
    assert "Perhaps rename g_pids to gallery_pids, gf to gallery_features, qf to query_" in half


def test_arrays_of_no_split_are_all_given_one(tmp_path):
    said = said_of(tmp_path / "x.npz", "features", "pids", "camids")
    assert said.endswith(
        "They name no split: rename camids to gallery_camids, features to gallery_features, "
        "pids to gallery_pids, or to train_… or query_… likewise"
    )


def test_probe_is_query_and_this_is_said(tmp_path):
    arrays = {"probe_features": FEATURES, "probe_labels": PIDS, "probe_cameras": PIDS[::-1]}
    np.savez(tmp_path / "x.npz", **arrays, gallery_features=FEATURES, gallery_pids=PIDS)
    said = []
    found = read(tmp_path / "x.npz", warnings=said)
    ((query,), _) = found.values()
    assert list(found) == ["query", "gallery"] and query.camids.tolist() == [3, 2, 1, 0]
    assert said == [
        f"{tmp_path / 'x.npz'}: probe is read as query "
        "(probe_cameras, probe_features, probe_labels)"
    ]


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
