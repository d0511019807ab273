"""A user's own folders and tables; whatever they are called, they are data."""

import os
from itertools import product

import pytest
from helpers.layouts import write_image, write_images

from pipelines.data.catalogue import open_dataset
from pipelines.data.folders import image_names
from pipelines.data.market1501 import EXAMPLE, PATTERN, parse_names
from pipelines.data.tables import open_table
from pipelines.errors import BadInput


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "train", ["anna/a_c1.jpg", "anna/b_c2.jpg", "bob/c_c1.jpg"])
    write_images(tmp_path / "query", ["carl/d_c1.jpg"])
    write_images(tmp_path / "gallery", ["carl/deep/er/e_c2.jpg", "anna/f_c3.jpg"])
    return tmp_path


def rows(data, split):
    return [tuple(sample) for sample in data.split(split)]


def test_identity_folders_without_cameras(folder):
    data = open_dataset("folder", folder)
    assert rows(data, "train") == [
        ("train/anna/a_c1.jpg", 0, -1),
        ("train/anna/b_c2.jpg", 0, -1),
        ("train/bob/c_c1.jpg", 1, -1),
    ]
    assert rows(data, "gallery") == [
        ("gallery/anna/f_c3.jpg", 0, -1),
        ("gallery/carl/deep/er/e_c2.jpg", 2, -1),
    ]
    assert not data.has_cameras


def test_cameras_come_from_a_pattern(folder):
    data = open_dataset("folder", folder, options={"camera_pattern": r"_c(\d+)\."})
    assert [sample.camid for sample in data.split("gallery")] == [3, 2]
    assert data.has_cameras and data.options == {"camera_pattern": r"_c(\d+)\."}


@pytest.mark.parametrize(
    "pattern, message",
    [("c(", "no regular expression"), ("c1", "needs a group"), (r"cam(\d)", "finds no camera in")],
)
def test_a_pattern_that_does_not_serve_is_refused(folder, pattern, message):
    with pytest.raises(BadInput, match=message):
        open_dataset("folder", folder, options={"camera_pattern": pattern})


def test_folders_called_by_numbers_keep_them_and_negative_ones_are_junk(tmp_path):
    write_images(tmp_path / "train", ["0007/a.jpg", "12/b.jpg", "-1/c.jpg"])
    data = open_dataset("folder", tmp_path)
    assert [sample.pid for sample in data.split("train")] == [7, 12] and data.junk == 1


def test_an_image_outside_an_identitys_folder_is_named(folder):
    write_image(folder / "query" / "stray.jpg")
    with pytest.raises(BadInput, match=r"query/stray\.jpg lies in no identity's folder"):
        open_dataset("folder", folder)


def test_another_layout_says_what_was_wanted(tmp_path):
    write_image(tmp_path / "photos" / "a.jpg")
    with pytest.raises(BadInput, match=r"one folder, photos: .* Perhaps --root .*photos is meant"):
        open_dataset("folder", tmp_path)
    write_image(tmp_path / "photos" / "train" / "anna" / "a.jpg")
    with pytest.raises(BadInput, match=r"photos holds train; give --root .*photos"):
        open_dataset("folder", tmp_path)
    write_image(tmp_path / "bounding_box_train" / "0001_c1s1_0.jpg")
    with pytest.raises(BadInput, match="looks like Market-1501; use market1501, or"):
        open_dataset("folder", tmp_path)
    own = open_dataset("folder", tmp_path, options={"pattern": "{pid}_c{camid}s*"})
    assert rows(own, "train") == [("bounding_box_train/0001_c1s1_0.jpg", 1, 1)]


def test_a_loop_of_links_ends(folder):
    (folder / "train" / "anna" / "again").symlink_to(folder / "train", target_is_directory=True)
    assert len(open_dataset("folder", folder).split("train")) == 3


def test_a_dangling_link_is_listed_for_decoding_to_report(folder):
    (folder / "query" / "carl" / "gone.jpg").symlink_to("/nowhere.jpg")
    assert len(open_dataset("folder", folder).split("query")) == 2


@pytest.mark.parametrize("name", ["ñandú 行人", "$(touch pwned); `id`", "a'b\"c", "a\nb"])
def test_names_are_data(tmp_path, name):
    write_image(tmp_path / "train" / name / f"{name}.jpg")
    data = open_dataset("folder", tmp_path)
    assert rows(data, "train") == [(f"train/{name}/{name}.jpg", 0, -1)]
    assert data.digest()


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "train" / "x").mkdir(parents=True)
    path = os.fsencode(tmp_path / "train" / "x") + b"/\xff\xfe.jpg"
    with open(path, "wb"):
        pass
    with pytest.raises(BadInput, match="is not UTF-8; rename the file"):
        open_dataset("folder", tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every folder")
def test_an_unreadable_folder_is_named(folder):
    (folder / "train" / "bob").chmod(0)
    with pytest.raises(BadInput, match=r"bob cannot be read: Permission denied"):
        open_dataset("folder", folder)
    (folder / "train" / "bob").chmod(0o700)


def test_an_unreadable_folder_is_named_by_any_user(folder, monkeypatch):
    listing = os.scandir

    def refuse(place):
        if str(place).endswith("bob"):
            raise PermissionError(13, "Permission denied")
        return listing(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInput, match=r"bob cannot be read: Permission denied"):
        open_dataset("folder", folder)


def test_a_million_files_are_listed_sorted(tmp_path, monkeypatch):
    class Entry:
        def __init__(self, number):
            self.name = f"{number:07d}_c1s1_000001_00.jpg"

        def is_dir(self):
            return False

    class Listing(list):
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    million = 1_000_000
    entries = Listing(Entry(number) for number in reversed(range(million)))
    monkeypatch.setattr(os, "scandir", lambda place: entries)
    names = image_names(tmp_path)
    assert len(names) == million and names[0].startswith("0000000") and names == sorted(names)
    samples = parse_names(names, PATTERN, example=EXAMPLE, folder=tmp_path)
    assert samples[-1] == (names[-1], million - 1, 1)


TABLE = "path,pid,camid,split\nx/a.jpg,p1,0,train\nx/b.jpg,p2,1,train\nx/q.jpg,p3,0,query\n"


def table(tmp_path, text=TABLE):
    """Write a table, with two of the pictures that tables here list."""
    path = tmp_path / "images.csv"
    write_images(tmp_path, ["a.jpg", "x/a.jpg"])
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_by_its_name_or_its_folder(tmp_path):
    path = table(tmp_path)
    for root in (path, tmp_path):
        data = open_dataset("csv", root)
        assert rows(data, "train") == [("x/a.jpg", 0, 0), ("x/b.jpg", 1, 1)]
        assert data.root == tmp_path
    again = open_dataset("csv", data.root, options=data.options)
    assert again.digest() == data.digest()


def test_a_table_without_cameras_and_in_another_order(tmp_path):
    data = open_dataset("csv", table(tmp_path, "split,path,pid,note\nquery,a.jpg,5,x\n"))
    assert rows(data, "query") == [("a.jpg", 5, -1)] and not data.has_cameras


@pytest.mark.parametrize(
    "text, message",
    [
        ("path,split\na.jpg,train\n", "has no column pid: its first line is .path,split"),
        ("", r"has no column path, pid: .* \(camid and split may be absent\): --columns"),
        ("path,pid,split\n", "lists no images"),
        ("path,pid,split\na.jpg,1,x\n", "line 2: split is 'x'; wanted train, query, gallery"),
        ("path,pid,split\na.jpg,,train\n", "line 2: no pid"),
        ("path,pid,split\n../a.jpg,1,train\n", "line 2: path '../a.jpg' must be below"),
        ("path,pid,split\nC:/a.jpg,1,train\n", "line 2: path 'C:/a.jpg' must be below"),
        ("path,pid,split\nC:\\a.jpg,1,train\n", "line 2: path .* must be below"),
        ("path,pid,split\nx\\..\\..\\a.jpg,1,train\n", "line 2: path .* must be below"),
        ("path,pid,split,camid\na.jpg,1,train,1.5\n", r"a camera is '1\.5'; a whole number or"),
        ("path,pid,pid,split\na.jpg,1,2,train\n", "has the column pid more than once"),
        ("path,pid,split\na.jpg,nan,train\n", "an identity is 'nan'; a whole number or a name"),
        ("path,pid,split\na.jpg,1,train\na.jpg,1,query\n", r"line 3: a\.jpg is listed twice"),
    ],
)
def test_tables_that_do_not_parse_name_the_line(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        open_dataset("csv", table(tmp_path, text))


def test_a_folder_with_two_tables_asks_for_one(tmp_path):
    table(tmp_path)
    (tmp_path / "more.csv").write_text(TABLE)
    with pytest.raises(BadInput, match=r"wanted one \.csv file, found images\.csv, more\.csv"):
        open_dataset("csv", tmp_path)


DIALECTS = {
    "spaces": TABLE.replace(",", ", "),
    "semicolons": TABLE.replace(",", ";"),
    "tabs": TABLE.replace(",", "\t"),
    "capitals": TABLE.replace("path,pid,camid,split", "Path,PID,CamID,Split"),
    "aliases": TABLE.replace("path,pid,camid,split", "file_name,person_id,camera,subset"),
    "split names": TABLE.replace(",train", ",Train").replace(",query", ",probe"),
    "quotes": TABLE.replace("p1", '"p1"'),
    "empty lines": TABLE + ",,,\n\n",
    "CRLF": TABLE.replace("\n", "\r\n"),
    "fields too many": TABLE.replace("train\n", "train,\n"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_table_is_read_however_it_is_written(tmp_path, dialect, encoding):
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    path = table(tmp_path, "")
    path.write_bytes((mark + DIALECTS[dialect]).encode(encoding))
    data = open_dataset("csv", path)
    assert rows(data, "train") == [("x/a.jpg", 0, 0), ("x/b.jpg", 1, 1)]
    assert rows(data, "query") == [("x/q.jpg", 2, 0)]
    if dialect == "aliases":
        assert "read 'file_name' as path, 'person_id' as pid" in " ".join(data.notices)


def test_absolute_paths_below_the_table_and_outside_of_it(tmp_path):
    (tmp_path / "labels").mkdir()
    text = TABLE.replace("x/", f"{tmp_path}/labels/x/")
    data = open_dataset("csv", table(tmp_path / "labels", text))
    assert data.root == tmp_path / "labels" and rows(data, "train")[0] == ("x/a.jpg", 0, 0)
    write_images(tmp_path / "y", ["a.jpg"])
    data = open_dataset("csv", table(tmp_path / "labels", TABLE.replace("x/", f"{tmp_path}/y/")))
    assert data.root == tmp_path / "y" and rows(data, "train")[0] == ("a.jpg", 0, 0)
    assert "absolute" in " ".join(data.notices)
    assert open_dataset("csv", data.root, options=data.options).digest() == data.digest()


def test_absolute_paths_of_a_folder_that_was_moved(tmp_path):
    path = table(tmp_path / "labels", TABLE.replace("x/", "/elsewhere/x/"))
    (path.parent / "a.jpg").unlink()
    write_images(tmp_path / "now", ["a.jpg", "b.jpg", "q.jpg", "g.jpg"])
    with pytest.raises(BadInput, match="are not in /elsewhere/x: a.jpg .* now with --images DIR"):
        open_dataset("csv", path)
    data = open_dataset("csv", path, options={"images": str(tmp_path / "now")})
    assert data.root == tmp_path / "now" and rows(data, "train")[0] == ("a.jpg", 0, 0)
    assert open_dataset("csv", data.root, options=data.options).digest() == data.digest()


def test_folders_below_those_of_the_identities_may_be_the_identities(tmp_path):
    write_images(tmp_path, ["f0/anna/a.jpg", "f0/bob/cam1/b.jpg", "f1/cleo/c.jpg", "f1/dan/d.jpg"])
    said = open_dataset("folder", tmp_path).notices
    assert (
        f"{tmp_path}: below them lie further folders (anna, bob, cleo, dan); if these are the "
        "identities, give --pattern '*/{pid}/**'"
    ) in said
    data = open_dataset("folder", tmp_path, options={"pattern": "*/{pid}/**"})
    assert data.labels.pids == ("anna", "bob", "cleo", "dan")
    write_images(tmp_path / "two", ["anna/in/a.jpg", "anna/out/b.jpg", "bob/in/c.jpg"])
    assert "further" not in " ".join(open_dataset("folder", tmp_path / "two").notices)


def test_test_is_the_gallery_and_val_the_query_of_its_people(tmp_path):
    write_images(tmp_path / "train", ["anna/a.jpg"])
    write_images(tmp_path / "Test", ["carl/b.jpg", "dora/c.jpg"])
    write_images(tmp_path / "val", ["carl/d.jpg"])
    data = open_dataset("folder", tmp_path)
    assert [sample.name for sample in data.split("gallery")] == [
        "Test/carl/b.jpg",
        "Test/dora/c.jpg",
    ]
    assert [sample.name for sample in data.split("query")] == ["val/carl/d.jpg"]
    assert [notice.partition(": ")[2] for notice in data.notices] == [
        "'Test' is read as the gallery",
        "'val' is read as the query: its people all stand in the gallery",
        "3 folders are identities, such as 'anna'",
    ]
    write_images(tmp_path / "val", ["other/e.jpg"])
    data = open_dataset("folder", tmp_path)
    assert data.filled_splits() == ["train", "gallery"]
    assert "'val' is not read" in data.notices[0]
    assert "2 identities have no other image to be found" in data.notices[-1]


# Splits that are drawn


def people_of(data, split):
    return {sample.pid for sample in data.splits.get(split, ())}


def crops(folder, people=8, cameras=2, images=2):
    names = [
        f"p{person}/{camera}_{image}.jpg"
        for person in range(people)
        for camera in range(1, cameras + 1)
        for image in range(images)
    ]
    write_images(folder, names)
    return folder


def test_folders_of_identities_are_split_by_identity_and_one_image_a_camera_asks(tmp_path):
    crops(tmp_path)
    data = open_dataset("folder", tmp_path, options={"pattern": "{pid}/{camid}_*.jpg"})
    assert len(people_of(data, "train")) == 4
    assert not people_of(data, "train") & people_of(data, "gallery")
    assert people_of(data, "query") == people_of(data, "gallery")
    assert len(data.split("train")) == 16
    asked = [(sample.pid, sample.camid) for sample in data.split("query")]
    assert sorted(asked) == sorted(product(people_of(data, "query"), (1, 2)))
    assert len(data.split("gallery")) == 8
    again = open_dataset("folder", tmp_path, options=data.options)
    assert again.digest() == data.digest()
    assert data.labels.pids == tuple(f"p{person}" for person in range(8))
    assert "4 of 8 identities, drawn with seed 0, are for training" in " ".join(data.notices)


@pytest.mark.parametrize(("share", "training"), [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_the_share_of_training_identities_is_chosen(tmp_path, share, training):
    data = open_dataset("folder", crops(tmp_path), options={"split": share})
    assert len(people_of(data, "train")) == training
    assert data.options["split"] == share
    assert open_dataset("folder", tmp_path, options=data.options).digest() == data.digest()


@pytest.mark.parametrize(("rule", "each"), [("identity", 1), ("2", 2), ("99", 3)])
def test_queries_by_identity_or_by_number(tmp_path, rule, each):
    data = open_dataset("folder", crops(tmp_path), options={"split": 0.5, "queries": rule})
    assert len(data.split("query")) == 4 * each
    assert len(data.split("gallery")) == 4 * (4 - each)


def test_an_identity_seen_by_one_camera_asks_nothing(tmp_path):
    crops(tmp_path / "test", people=2, cameras=1)
    crops(tmp_path / "train", people=2)
    write_images(tmp_path / "test", ["p0/2_9.jpg"])
    data = open_dataset("folder", tmp_path, options={"pattern": "{pid}/{camid}_*.jpg"})
    assert {data.labels.person(sample.pid) for sample in data.split("query")} == {"p0"}
    assert "1 identities have no other image" in data.notices[-1]


def test_flat_names_are_read_by_a_pattern(tmp_path):
    write_images(tmp_path, [f"{p:03d}_c{c}_{i}.JPG" for p, c, i in product(range(4), (1, 2), "01")])
    write_images(tmp_path / "__MACOSX", ["._000_c1_0.jpg"])
    with pytest.raises(BadInput, match=r"lies in no identity's folder.*'\{pid\}_c\{camid\}_\*'"):
        open_dataset("folder", tmp_path)
    data = open_dataset("folder", tmp_path, options={"pattern": "{pid}_c{camid}_*.JPG"})
    assert sum(len(data.split(split)) for split in data.filled_splits()) == 16
    assert {sample.camid for sample in data.split("gallery")} == {1, 2}
    with pytest.raises(BadInput, match=r"--pattern \{pid\}-\* fits none of the 16 pictures"):
        open_dataset("folder", tmp_path, options={"pattern": "{pid}-*"})
    with pytest.raises(BadInput, match=r"000_c1_0\.JPG; it would but for capital letters"):
        open_dataset("folder", tmp_path, options={"pattern": "{pid}_C{camid}_*.jpg"})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"pattern": "*.jpg"}, "no {pid} in it"),
        ({"pattern": "{pid}_{pid}"}, "{pid} stands twice"),
        (
            {"pattern": "{pid}_{who}"},
            "{who} is nothing that a name can hold; wanted {pid}, {camid}, {split}, or clothes",
        ),
        ({"split": 1.5}, "--split 1.5: the share of identities"),
        ({"queries": "some"}, "--queries some: wanted camera, identity, or a number"),
        ({"queries": "0"}, "--queries 0: wanted"),
    ],
)
def test_options_that_say_nothing_are_refused(tmp_path, options, problem):
    with pytest.raises(BadInput) as caught:
        open_dataset("folder", crops(tmp_path), options=options)
    assert problem in str(caught.value)


def test_a_split_that_is_there_is_not_drawn_again(folder):
    for options in ({"split": 0.5}, {"queries": "camera"}):
        with pytest.raises(BadInput, match="leave it out"):
            open_dataset("folder", folder, options=options)


def test_what_lies_beside_the_splits_is_named(folder):
    write_images(folder / "extra", ["anna/x.jpg"])
    (folder / "notes.txt").write_text("hello")
    data = open_dataset("folder", folder)
    assert "not read: extra/, notes.txt" in " ".join(data.notices)


def test_a_table_elsewhere_with_columns_of_its_own(tmp_path):
    crops(tmp_path / "pictures")
    lines = [f"p{p}/{c}_{i}.jpg;{p};front{c}" for p in range(8) for c in (1, 2) for i in (0, 1)]
    path = tmp_path / "labels" / "mine.csv"
    path.parent.mkdir()
    path.write_text("Bild;Wer;Kamera\n" + "\n".join(lines))
    options = {
        "images": str(tmp_path / "pictures"),
        "columns": "path=Bild,pid=Wer,camid=Kamera",
        "split": 0.5,
    }
    data = open_dataset("csv", path, options=options)
    assert data.root == tmp_path / "pictures"
    assert data.labels.camids == ("front1", "front2")
    assert len(people_of(data, "train")) == 4 and len(data.split("query")) == 8
    assert all((data.root / sample.name).exists() for sample in data.split("gallery"))
    assert open_dataset("csv", data.root, options=data.options).digest() == data.digest()
    for change, problem in (
        ({"columns": "path=Bild,pid=Who"}, "has no column Who; it has Bild, Wer, Kamera"),
        ({"columns": "path=Bild;pid=Wer"}, "Bild;pid=Wer; commas stand between pairs: path="),
        ({"columns": "who=Wer"}, "--columns who=Wer: wanted path="),
        ({"images": "nowhere"}, "--images nowhere is no folder"),
        ({"columns": None}, "has no column path, pid"),
    ):
        with pytest.raises(BadInput) as caught:
            open_dataset("csv", path, options=options | change)
        assert problem in str(caught.value)


def test_a_table_of_paths_alone_and_a_pattern(tmp_path):
    names = [f"{p:02d}_c{c}_x.jpg" for p, c in product(range(4), (1, 2))]
    write_images(tmp_path, names)
    path = table(tmp_path, "\n".join(["path", *names]))
    data = open_dataset("csv", path, options={"pattern": "{pid}_c{camid}_*", "split": 0.5})
    assert people_of(data, "train") | people_of(data, "gallery") == {0, 1, 2, 3}


def test_a_table_that_must_name_splits_is_told_what_they_are(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("path,pid\na.jpg,1\n")
    with pytest.raises(BadInput) as caught:
        open_table(path)
    assert str(caught.value) == (
        f"{path} has no column split: its first line is 'path,pid'; wanted path,pid,camid,split "
        "(camid may be absent; split is train, query or gallery in each line): rename its columns "
        "so"
    )
