"""Several data sets as one: identities and cameras kept apart, read again from a run's facts."""

import pytest

from pipelines.data.catalogue import open_dataset, open_datasets
from pipelines.errors import BadInput


def market(folder, *, pids=("0001", "0002"), query="0003"):
    files = {
        "bounding_box_train": [f"{pid}_c1s1_00000{n}_00.jpg" for pid in pids for n in range(2)],
        "query": [f"{query}_c1s1_000000_00.jpg"],
        "bounding_box_test": [f"{query}_c2s1_000000_00.jpg", "0000_c2s1_000000_00.jpg"],
    }
    for split, names in files.items():
        (folder / split).mkdir(parents=True)
        for name in names:
            (folder / split / name).write_bytes(b"")
    return folder


def test_two_sets_share_no_identity_and_no_camera_though_their_numbers_are_equal(tmp_path):
    roots = [market(tmp_path / "a"), market(tmp_path / "b")]
    data = open_datasets(["market1501", "market1501"], roots)
    assert data.name == "market1501+market1501"
    assert [sample.name for sample in data.split("train")][:2] == [
        "a/bounding_box_train/0001_c1s1_000000_00.jpg",
        "a/bounding_box_train/0001_c1s1_000001_00.jpg",
    ]
    assert data.counts("train") == (8, 4, 2)  # 2 identities and 1 camera each
    assert data.counts("gallery") == (4, 2, 2)  # 1 identity and a distractor each
    called = [data.labels.person(sample.pid) for sample in data.split("query")]
    assert called == ["market1501 a/3", "market1501 b/3"]
    gallery = {sample.name: sample.pid for sample in data.split("gallery")}
    assert [pid for name, pid in gallery.items() if "/0000_" in name] == [data.distractor] * 2
    people = {sample.pid for split in data.splits.values() for sample in split}
    assert people == {0, 1, 2, 3, 4, 5, 6}


def test_it_is_read_again_from_what_a_run_keeps_of_it(tmp_path):
    roots = [market(tmp_path / "a"), market(tmp_path / "deep" / "b", pids=("0007", "0009"))]
    data = open_datasets(["market1501", "market1501"], roots)
    again = open_dataset(data.name, data.root, options=data.options)
    assert again == data
    assert again.digest() == data.digest()


def test_one_root_serves_for_all(tmp_path):
    market(tmp_path / "Market-1501-v15.09.15")
    rows = ["path,pid,split", *(f"{name},{name},train" for name in ("x.jpg", "y.jpg"))]
    for name in ("x.jpg", "y.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "own.csv").write_text("\n".join(rows))
    data = open_datasets(
        ["market1501", "csv"], [tmp_path / "Market-1501-v15.09.15", tmp_path / "own.csv"]
    )
    assert data.counts("train").identities == 4
    called = sorted({data.labels.person(sample.pid) for sample in data.split("train")})
    assert called == ["csv/x.jpg", "csv/y.jpg", "market1501/1", "market1501/2"]


@pytest.mark.parametrize(
    "names, roots, said",
    [
        (["market1501"] * 2, ["a", "a"], "given twice"),
        (["market1501"] * 3, ["a", "b"], "3 data sets and 2 times --root"),
    ],
)
def test_what_cannot_be_joined_is_said(tmp_path, names, roots, said):
    for name in set(roots):
        market(tmp_path / name)
    with pytest.raises(BadInput, match=said):
        open_datasets(names, [tmp_path / root for root in roots])


def test_an_option_that_none_of_them_has_is_refused(tmp_path):
    roots = [market(tmp_path / "a"), market(tmp_path / "b")]
    with pytest.raises(BadInput, match="has an option --combine-all"):
        open_datasets(["market1501"] * 2, roots, options={"combine_all": True})
