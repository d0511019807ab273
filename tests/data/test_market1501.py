"""Reading Market-1501's layout, and saying what is wrong with another."""

import shutil
from dataclasses import replace

import pytest
from helpers.layouts import write_image, write_images, write_market1501

from pipelines.data.catalogue import count_differences, entry, open_dataset
from pipelines.data.samples import Sample, SplitCounts, contiguous_labels
from pipelines.errors import BadInput


@pytest.fixture
def home(tmp_path):
    return write_market1501(tmp_path / "Market-1501-v15.09.15")


def test_splits_are_read_from_the_names(home):
    data = open_dataset("market1501", home)
    assert data.root == home
    assert [tuple(sample) for sample in data.split("query")] == [
        ("query/0003_c1s1_001051_00.jpg", 3, 1),
        ("query/0004_c6s3_094567_00.jpg", 4, 6),
    ]
    assert [sample.pid for sample in data.split("train")] == [2, 2, 2, 2, 7, 7, 7, 7]


def test_junk_is_left_out_and_distractors_stay(home):
    data = open_dataset("market1501", home)
    assert [sample.pid for sample in data.split("gallery")] == [0, 3, 4]
    assert data.junk == 1


def test_counts_leave_distractors_out_of_the_identities(home):
    data = open_dataset("market1501", home)
    assert data.counts("train") == SplitCounts(8, 2, 2)
    assert data.counts("gallery") == SplitCounts(3, 2, 3)


@pytest.mark.parametrize(
    "where", ["Market-1501-v15.09.15", "MARKET1501", "Market1501/Market-1501-v15.09.15"]
)
def test_the_root_may_be_the_folder_or_its_parent_in_any_case(tmp_path, where):
    home = write_market1501(tmp_path / where)
    for root in (home, tmp_path, home.parent):
        assert open_dataset("Market1501", root).root == home


def test_folders_inside_may_be_in_any_case(home):
    (home / "bounding_box_train").rename(home / "Bounding_Box_Train")
    assert len(open_dataset("market1501", home).split("train")) == 8


def test_labels_are_contiguous_from_sorted_pids():
    labels, pids = contiguous_labels([7, 2, 7, 1500])
    assert labels.tolist() == [1, 0, 1, 2]
    assert pids.tolist() == [2, 7, 1500]


def test_a_missing_root_says_what_is_wanted(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere is not there; --root \(or NFORMER_DATA\) must be"):
        open_dataset("market1501", tmp_path / "nowhere")


def test_a_root_that_is_a_file_says_so(home):
    with pytest.raises(BadInput, match=r"readme\.txt is a file; --root"):
        open_dataset("market1501", home / "readme.txt")


def test_an_empty_root_says_so(tmp_path):
    with pytest.raises(BadInput, match="is empty; --root must be the folder of market1501"):
        open_dataset("market1501", tmp_path)


def test_another_layout_says_what_was_wanted_and_found(tmp_path):
    write_image(tmp_path / "train" / "0001" / "a.jpg")
    message = "wanted bounding_box_train, query, bounding_box_test, .*; found train"
    with pytest.raises(BadInput, match=message):
        open_dataset("market1501", tmp_path)


def test_a_split_without_images_says_so(home):
    shutil.rmtree(home / "query")
    (home / "query").mkdir()
    with pytest.raises(BadInput, match="query holds no images; a file there is named like 0002_c1"):
        open_dataset("market1501", home)


def test_names_that_do_not_parse_are_listed(home):
    write_image(home / "query" / "IMG_2041.jpg")
    with pytest.raises(BadInput) as error:
        open_dataset("market1501", home)
    assert str(error.value) == (
        f"{home / 'query'}: 1 of 3 names do not parse: IMG_2041.jpg (it does not begin with a "
        "person's number); wanted names like 0002_c1s1_000451_03.jpg (person, camera). Move other "
        "images elsewhere"
    )


@pytest.mark.parametrize(
    ("names", "reason", "pattern"),
    [
        ("{}_{}_0.jpg", "no camera (_c1) follows the person's number", "{pid}_{camid}_*"),
        ("0{}-{}-0.png", "no camera (_c1) follows the person's number", "{pid}-{camid}-*"),
        ("cam{1}_{0}_0.jpg", "it does not begin with a person's number", "cam{camid}_{pid}_*"),
        ("bob{}_c{}s1_0.jpg", "it does not begin with a person's number", "{pid}_c{camid}s*"),
    ],
)
def test_names_that_another_reader_reads_are_told_it(tmp_path, names, reason, pattern):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        people = (1, 2) if folder == "bounding_box_train" else (3, 4)
        write_images(tmp_path / folder, [names.format(p, c) for p in people for c in (5, 6)])
    with pytest.raises(BadInput) as error:
        open_dataset("market1501", tmp_path)
    assert reason in str(error.value)
    assert str(error.value).endswith(f"The reader folder reads them, with --pattern '{pattern}'")
    data = open_dataset("folder", tmp_path, options={"pattern": pattern})
    for split in ("train", "query", "gallery"):
        assert data.counts(split) == (4, 2, 2), split


def test_hidden_files_and_other_kinds_are_passed_over(home):
    (home / "query" / "._0003_c1s1_001051_00.jpg").write_bytes(b"of another system")
    assert len(open_dataset("market1501", home).split("query")) == 2


def test_counts_that_are_not_the_published_ones_are_told_with_both_numbers(home):
    data = open_dataset("market1501", home)
    assert count_differences(data) == [
        "read as another data set in Market-1501's layout: its numbers are not the published ones "
        "(train: 2 identities, Market-1501 has 751)"
    ]
    few = {**data.splits, "train": [Sample(f"{pid}.jpg", pid, 1) for pid in range(1, 701)]}
    texts = count_differences(replace(data, splits={"train": few["train"]}))
    assert "train 700 images, 700 identities, 1 cameras (published: 12,936, 751, 6)" in texts[0]


def test_an_unknown_data_set_lists_the_known(tmp_path):
    with pytest.raises(
        BadInput, match="'markt' is no data set known here; did you mean market1501"
    ):
        open_dataset("markt", tmp_path)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Market-1501", "market1501"),
        ("market", "market1501"),
        ("DukeMTMC_reID", "dukemtmcreid"),
        ("cuhk03-labeled", "cuhk03-labelled"),
    ],
)
def test_a_data_set_has_the_names_that_people_give_it(written, name):
    assert entry(written).name == name


def test_the_digest_changes_with_the_files_and_not_with_the_place(home, tmp_path):
    before = open_dataset("market1501", home).digest()
    moved = shutil.copytree(home, tmp_path / "elsewhere")
    assert open_dataset("market1501", moved).digest() == before
    write_image(moved / "query" / "0003_c2s1_001051_00.jpg")
    assert open_dataset("market1501", moved).digest() != before
    assert open_dataset("market1501", moved).digest("train") != before


def test_a_split_that_is_not_there_names_the_others(home):
    with pytest.raises(BadInput, match="has no validation images; it has train, query, gallery"):
        open_dataset("market1501", home).split("validation")


def test_500k_distractors_join_the_gallery_when_asked(home):
    write_images(home / "images", ["0000_c2s1_000001_00.jpg", "some/thing else.jpg"])
    data = open_dataset("market1501", home, options={"distractors": "500k"})
    assert [(s.name, s.pid, s.camid) for s in data.split("gallery")][-2:] == [
        ("images/0000_c2s1_000001_00.jpg", 0, 2),
        ("images/some/thing else.jpg", 0, -1),
    ]
    assert data.counts("gallery").identities == 2
    assert open_dataset("market1501", home, options=data.options).digest() == data.digest()


def test_500k_distractors_that_are_not_there_say_where_they_go(home):
    with pytest.raises(BadInput, match="--distractors 500k: .* has no folder images or"):
        open_dataset("market1501", home, options={"distractors": "500k"})


def test_an_option_of_another_data_set_is_refused(home):
    with pytest.raises(BadInput, match="market1501 has no option --combine-all"):
        open_dataset("market1501", home, options={"combine_all": True})


def test_the_table_counts_each_split_as_the_field_prints_it(home):
    lines = open_dataset("market1501", home).table().splitlines()
    assert lines[0].split() == ["market1501", "images", "identities", "cameras"]
    assert lines[1].split() == ["train", "8", "2", "2"]
    assert [line.split()[0] for line in lines[2:]] == ["query", "gallery"]
