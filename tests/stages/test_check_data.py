"""check-data finds what is wrong with a set of images, each kind once."""

import json
import shutil

import pytest

from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.errors import BadInput
from pipelines.stages.check_data import check_data

NAME = "market1501"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_synthetic(folder, train_identities=3, test_identities=3, height=32, width=16)


@pytest.fixture
def images(tmp_path, drawn):
    return shutil.copytree(drawn, tmp_path / "images")


def whats(report, level):
    return [finding.what for finding in report.findings if finding.level == level]


def first(folder):
    return min(folder.glob("0[1-9]*.jpg"), default=min(folder.glob("*.jpg")))


def test_a_sound_set_has_counts_beside_the_published_and_no_error(images):
    report = check_data(NAME, root=images.parent / "images")
    assert not report.errors
    assert report.splits["train"]["identities"] == 3
    assert report.splits["train"]["published"] == {
        "images": 12936, "identities": 751, "cameras": 6,
    }  # fmt: skip
    warned = whats(report, "warning")
    assert any("another data set in Market-1501's layout" in what for what in warned)
    assert json.loads(json.dumps(report.as_table()))["ok"] is True


def test_files_with_other_endings_among_the_images_are_counted(images):
    (images / "query/Thumbs.db").touch()
    assert not any("endings" in what for what in whats(check_data(NAME, root=images), "warning"))
    for path in sorted((images / "bounding_box_train").glob("*.jpg"))[:2]:
        path.rename(path.with_suffix(".HEIC"))
    assert "files among the images are not read, for their endings: 2 .heic" in whats(
        check_data(NAME, root=images), "warning"
    )


def test_unreadable_images_are_errors_by_reason(images):
    paths = sorted((images / "query").glob("*.jpg"))[:3]
    paths[0].write_bytes(b"")
    paths[1].write_bytes(b"")
    paths[2].write_bytes(paths[2].read_bytes()[:200])
    report = check_data(NAME, root=images)
    found = {finding.what: finding for finding in report.errors}
    empty = found["cannot be read: it is empty (0 bytes)"]
    assert empty.count == 2 and empty.names == tuple(f"query/{path.name}" for path in paths[:2])
    assert len(report.errors) == 2
    assert report.as_table()["ok"] is False


def test_the_same_content_in_train_and_test_is_an_error_and_within_a_warning(images):
    source = min((images / "bounding_box_train").glob("*.jpg"))
    pid = source.name.split("_")[0]
    shutil.copyfile(source, source.with_name(f"{pid}_c1s9_999999_01.jpg"))
    query = min((images / "query").glob("*.jpg"))
    shutil.copyfile(min((images / "bounding_box_test").glob("*.jpg")), query)
    assert "the same content twice" in whats(check_data(NAME, root=images), "warning")
    shutil.copyfile(source, query)
    report = check_data(NAME, root=images)
    assert whats(report, "error") == ["the same content in train and in test"]
    assert f"query/{query.name}" in report.errors[0].names[0]


def test_identities_in_train_and_test_are_an_error(images):
    source = min((images / "bounding_box_train").glob("*.jpg"))
    pid = source.name.split("_")[0]
    query = min((images / "query").glob("*.jpg"))
    query.rename(query.with_name(f"{pid}_c1s1_000001_00.jpg"))
    report = check_data(NAME, root=images)
    found = [finding for finding in report.errors if "identities" in finding.what]
    assert found[0].names == (str(int(pid)),)


def test_one_camera_identities_and_queries_without_a_match_are_warnings(images):
    query = min((images / "query").glob("*.jpg"))
    shutil.copyfile(query, images / "query" / "9001_c1s1_000001_00.jpg")
    warnings = {f.what: f for f in check_data(NAME, root=images).findings}
    assert warnings["identities of one camera only, in test"].names == ("9001",)
    lost = warnings["queries without a match in the gallery"]
    assert lost.names == ("query/9001_c1s1_000001_00.jpg",)


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is empty; --root"):
        check_data(NAME, root=tmp_path)


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no data set known here"):
        check_data("markt", root=tmp_path)


def test_the_real_images_are_sound_and_a_damaged_copy_is_not(shared, tmp_path):
    root = shared("data/pku-reid")
    assert not check_data(NAME, root=root).errors
    copy = shutil.copytree(root, tmp_path / "pku")
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
    train = sorted((copy / "bounding_box_train").glob("*.jpg"))
    train[0].write_bytes(b"")
    train[1].write_bytes(train[1].read_bytes()[:500])
    query = min((copy / "query").glob("*.jpg"))
    shutil.copyfile(train[2], query)
    report = check_data(NAME, root=copy)
    assert sorted(finding.what.split(":")[0] for finding in report.errors) == [
        "cannot be read", "cannot be read", "the same content in train and in test",
    ]  # fmt: skip
