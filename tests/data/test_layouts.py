"""Small copies of all data sets with a layout: whole, damaged, of another kind."""

import shutil

import pytest
import torch
from helpers.copies import (
    COPIES,
    write_cars196,
    write_cub200,
    write_cuhk01,
    write_grid,
    write_inshop,
    write_occluded_duke,
    write_partial_reid,
    write_prcc,
    write_regdb,
    write_sop,
    write_sysu,
    write_vc_clothes,
    write_vehicleid,
    write_veri776,
    write_veriwild,
    write_viper,
)
from torchvision.models import shufflenet_v2_x0_5

from pipelines import Run, evaluate, extract, load_embeddings
from pipelines.config import EvaluateConfig, ExtractConfig
from pipelines.data.catalogue import ENTRIES, entry, open_dataset
from pipelines.errors import BadInput
from pipelines.ranking.rules import RULES
from pipelines.stages.check_data import check_data


def refusal(name, *, root):
    """Return why a data set cannot be checked: it cannot be read."""
    with pytest.raises(BadInput) as refused:
        check_data(name, root=root)
    return str(refused.value)


@pytest.mark.parametrize("name", COPIES)
def test_a_small_copy_is_read_and_has_no_error(tmp_path, name):
    write, counts, _ = COPIES[name]
    home = write(tmp_path / "a folder")
    data = open_dataset(name, home)
    found = tuple(data.counts(split).images for split in ("train", "query", "gallery"))
    assert found == counts
    assert data.rules == entry(name).rules
    report = check_data(name, root=home)
    assert [finding.what for finding in report.errors] == []
    if entry(name).counts:
        said = " ".join(finding.what for finding in report.findings)
        assert "another data set in" in said or "not the published counts of" in said


@pytest.mark.parametrize("name", [name for name, copy in COPIES.items() if copy[2]])
def test_a_cut_list_is_named(tmp_path, name):
    write, _, listed = COPIES[name]
    home = write(tmp_path / "a folder")
    path = home / listed
    path.write_bytes(path.read_bytes()[:-60] if path.suffix == ".mat" else b"")
    error = refusal(name, root=home)
    assert listed.rpartition("/")[2] in error


def all_names(data):
    return {one.name for split in data.filled_splits() for one in data.images(split)}


@pytest.mark.parametrize("name", COPIES)
def test_a_missing_image_is_an_error(tmp_path, name):
    write = COPIES[name][0]
    home = write(tmp_path / "a folder")
    data = open_dataset(name, home)
    (home / data.images("gallery")[0].name).unlink()
    errors = check_data(name, root=home).errors
    if not COPIES[name][2] or name in ("sysu-mm01", "ilids-vid", "prid2011"):  # files are its list
        assert all_names(open_dataset(name, home)) < all_names(data)
    else:
        assert "there is no such file" in errors[0].what


@pytest.mark.parametrize("name", sorted({*COPIES} - {"occluded-duke"}))
def test_the_wrong_kind_is_told_what_it_looks_like(tmp_path, name):
    home = COPIES[name][0](tmp_path / "a folder")
    other = "sop" if name != "sop" else "veri776"
    for place in (home, tmp_path):
        error = refusal(other, root=place)
        assert f"this looks like {entry(name).title}; use {name}" in error
    assert f"looks like {entry(name).title}; use {name}" in refusal("folder", root=home)
    assert f"It may be {entry(name).title}; use {name}" in refusal("csv", root=home)


def test_each_test_set_has_its_own_published_counts(tmp_path):
    home = write_vehicleid(tmp_path / "vehicleid")
    for variant, vehicles in (("", 800), ("1600", 1600)):
        options = {"variant": variant} if variant else {}
        report = check_data("vehicleid", root=home, options=options)
        assert report.splits["query"]["published"]["identities"] == vehicles
        assert report.splits["train"]["published"]["identities"] == 13164


def test_a_vehicle_without_a_camera_is_named(tmp_path):
    home = write_veriwild(tmp_path / "veriwild")
    info = home / "train_test_split/vehicle_info.txt"
    info.write_text("".join(f"{line}\n" for line in info.read_text().splitlines()[:-1]))
    error = refusal("veriwild", root=home)
    assert "test_3000.txt, line 2: 00008/000005 has no line in vehicle_info.txt" in error


def test_names_tell_layouts_of_the_same_folders_apart(tmp_path):
    home = write_occluded_duke(tmp_path / "DukeMTMC-reID")
    error = refusal("sop", root=home)
    assert "looks like DukeMTMC-reID or Occluded-Duke; use dukemtmcreid or occluded-duke" in error
    shutil.rmtree(home / "query")
    error = refusal("occluded-duke", root=home)
    assert "query" in error and "looks like" not in error


def test_labels_of_each(tmp_path):
    data = open_dataset("inshop", write_inshop(tmp_path / "inshop"))
    assert [sample.pid for sample in data.split("gallery")] == [2] * len(data.split("gallery"))
    data = open_dataset("veriwild", write_veriwild(tmp_path / "veriwild"))
    assert data.split("gallery")[1] == ("images/00008/000005.jpg", 8, 5)
    home = write_vehicleid(tmp_path / "vehicleid")
    data = open_dataset("vehicleid", home, options={"variant": "1600"})
    assert (len(data.split("query")), dict(data.options)) == (9, {"variant": "1600"})
    with pytest.raises(BadInput, match="--variant 7: vehicleid has 800, 1600, 2400"):
        open_dataset("vehicleid", home, options={"variant": "7"})
    with pytest.raises(BadInput, match="test_list_2400.txt is not there"):
        open_dataset("vehicleid", home, options={"variant": "2400"})
    data = open_dataset("veri776", write_veri776(tmp_path / "VeRi").parent / "VeRi")
    assert data.split("gallery")[1].camid == 14
    cars = open_dataset("cars196", write_cars196(tmp_path / "cars"))
    assert {sample.pid for sample in cars.split("query")} == {99, 100}


def test_a_path_that_leads_out_is_refused(tmp_path):
    home = write_sop(tmp_path / "sop")
    lines = (home / "Ebay_test.txt").read_text().replace("bicycle_final/40", "../40")
    (home / "Ebay_test.txt").write_text(lines)
    with pytest.raises(BadInput, match=r"line 2: '\.\./40_0\.JPG' leads out"):
        open_dataset("sop", home)


def test_every_entry_has_rules_that_there_are():
    assert {one.rules for one in ENTRIES} <= set(RULES)


def test_from_images_to_recall(tmp_path):
    """What is query and gallery is embedded once, and evaluated by the data set's rules."""
    home = write_cub200(tmp_path / "CUB_200_2011")
    run = Run(tmp_path / "run")
    weights = tmp_path / "weights.pth"
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    config = ExtractConfig(height=32, width=32, workers=1, amp="off")
    path = extract(
        run, config=config, device="cpu", dataset="cub200", root=home,
        arch="shufflenet_v2_x0_5", weights=weights,
    )  # fmt: skip
    query, gallery = (load_embeddings(path, split) for split in ("query", "gallery"))
    assert query.names == gallery.names
    assert run.facts(path.name)["rules"] == "cub200"
    found = evaluate(run, config=EvaluateConfig(refine=("nfc",)))
    assert (found.rules, found.queries, found.valid_queries) == ("cub200", 4, 4)
    assert 0 < found.row("nfc").figure("recall@2") <= 1


def test_clothes_are_labels(tmp_path):
    data = open_dataset("ltcc", COPIES["ltcc"][0](tmp_path / "ltcc"))
    assert data.columns["clothes"]["test/077_2_c3_0003.png"] == 2
    assert data.split("gallery")[2] == ("test/078_1_c12_0004.png", 78, 12)
    home = write_prcc(tmp_path / "prcc")
    for variant, *asked in ((None, 3, 2), ("cloth-changing", 3, 2), ("same-clothes", 2, 1)):
        data = open_dataset("prcc", home, options={"variant": variant})
        worn = data.columns["clothes"]
        found = {
            split: {(one.camid, worn[one.name]) for one in data.split(split)}
            for split in ("train", "query", "gallery")
        }
        train = {(1, 1), (2, 1), (3, 2)}
        assert found == {"train": train, "query": {tuple(asked)}, "gallery": {(1, 1)}}
    home = write_vc_clothes(tmp_path / "vc")
    for variant, cameras in (("general", {1, 2, 3, 4}), ("cloth-changing", {3, 4})):
        data = open_dataset("vc-clothes", home, options={"variant": variant})
        assert {one.camid for one in data.split("gallery")} == cameras
        assert {one.camid for one in data.split("query")} == {2, 4} & cameras
        assert len(data.split("train")) == 8


def test_names_that_do_not_parse_are_named(tmp_path):
    home = COPIES["ltcc"][0](tmp_path / "ltcc")
    (home / "test/077_1_c2_0002.png").rename(home / "test/77-c2.png")
    error = refusal("ltcc", root=home)
    assert "1 of 3 names do not parse: 77-c2.png; wanted names like 001_1_c3_" in error


def test_clothes_go_from_images_to_results(tmp_path):
    """Extracted with the images' clothes, and compared by them."""
    run, home = Run(tmp_path / "run"), COPIES["ltcc"][0](tmp_path / "ltcc")
    weights = tmp_path / "weights.pth"
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    config = ExtractConfig(height=32, width=32, workers=1, amp="off")
    path = extract(
        run, config=config, device="cpu", dataset="ltcc", root=home,
        arch="shufflenet_v2_x0_5", weights=weights,
    )  # fmt: skip
    assert load_embeddings(path, "gallery").columns["clothes"].tolist() == [1, 2, 1]
    found = evaluate(run, config=EvaluateConfig(refine=("none",)))
    assert (found.rules, found.queries, found.valid_queries) == ("cloth-changing", 1, 1)


def test_visible_and_infrared(tmp_path):
    home = write_sysu(tmp_path / "SYSU-MM01")
    data = open_dataset("sysu-mm01", home)
    cameras = {split: {one.camid for one in data.split(split)} for split in data.splits}
    assert cameras == {"train": {1, 3, 4}, "query": {3, 6}, "gallery": {1, 2, 4}}
    assert {one.pid for one in data.split("query")} == {6, 10}
    assert {one.pid for one in data.split("train")} == {1, 2, 4}  # with the validation's
    (home / "exp/test_id.txt").write_text("6,seven")
    error = refusal("sysu-mm01", root=home)
    assert "'seven' is no person's number" in error
    (home / "exp/test_id.txt").write_text("77")
    error = refusal("sysu-mm01", root=home)
    assert "no images of the persons of query" in error


def test_both_directions_of_ten_splits(tmp_path):
    home = write_regdb(tmp_path / "RegDB")
    data = {
        variant: open_dataset("regdb", home, options={"variant": variant})
        for variant in ("1", "thermal-1", "2")
    }
    assert [one.camid for one in data["1"].split("query")] == [1] * 4
    assert data["1"].splits["query"] == data["thermal-1"].splits["gallery"]
    assert data["1"].splits["gallery"] == data["thermal-1"].splits["query"]
    assert data["1"].splits["train"] == data["thermal-1"].splits["train"]
    names = {one.name for one in data["1"].split("train")}
    assert {one.name for one in data["2"].split("query")} < names
    assert data["1"].train_apart
    with pytest.raises(BadInput, match="regdb has 1, 2, 3"):
        open_dataset("regdb", home, options={"variant": "11"})


def test_a_part_is_asked_for_among_whole_persons(tmp_path):
    home = write_partial_reid(tmp_path / "Partial_REID")
    for variant, folder in ((None, "partial"), ("occluded", "occluded")):
        data = open_dataset("partial-reid", home, options={"variant": variant})
        assert data.split("query")[0] == (f"{folder}_body_images/001_001.jpg", 1, 1)
        assert data.split("gallery")[0] == ("whole_body_images/001_001.jpg", 1, 2)
    error = refusal("occluded-reid", root=home)
    assert "this looks like Partial-REID; use partial-reid" in error


def test_from_infrared_images_to_results(tmp_path):
    """Ten galleries are drawn of the visible images; each image is embedded once."""
    run, home = Run(tmp_path / "run"), write_sysu(tmp_path / "SYSU-MM01")
    weights = tmp_path / "weights.pth"
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    config = ExtractConfig(height=32, width=32, workers=1, amp="off")
    extract(
        run, config=config, device="cpu", dataset="sysu-mm01", root=home,
        arch="shufflenet_v2_x0_5", weights=weights,
    )  # fmt: skip
    found = evaluate(run, config=EvaluateConfig(refine=("none",)))
    assert (found.rules, found.queries, found.gallery) == ("sysu-mm01", 4, 4)
    assert 0 < found.row("baseline").figure("rank1") <= 1


def people(data, split):
    return {one.pid for one in data.splits.get(split, ())}


def test_halves_of_persons_are_drawn(tmp_path):
    home = write_viper(tmp_path / "VIPeR")
    chosen = set()
    for number in range(1, 11):
        data = open_dataset("viper", home, options={"variant": str(number)})
        train, test = people(data, "train"), people(data, "query")
        assert (len(train), train | test, train & test) == (3, set(range(6)), set())
        assert people(data, "gallery") == test
        assert {one.camid for one in data.split("query")} == {1}
        assert {one.camid for one in data.split("gallery")} == {2}
        assert data.rules == "single-shot"
        chosen.add(frozenset(train))
    assert len(chosen) > 3
    data = open_dataset("viper", home, options={"variant": "all"})
    assert (len(people(data, "query")), people(data, "train"), data.rules) == (6, set(), "halves")
    assert data.columns["viewpoint"]["cam_b/003_90.bmp"] == 90


def test_grid_has_halves_of_its_authors(tmp_path):
    home = write_grid(tmp_path / "grid")
    data = open_dataset("grid", home, options={"variant": "2"})
    assert (people(data, "train"), people(data, "query")) == ({1, 3}, {2, 4})
    assert people(data, "gallery") == {0, 2, 4}
    assert data.counts("gallery") == (5, 2, 4)  # nobody is no identity
    splits = home / "features_and_partitions.mat"
    splits.write_bytes(splits.read_bytes()[:200])
    error = refusal("grid", root=home)
    assert "features_and_partitions.mat" in error
    splits.unlink()
    error = refusal("grid", root=home)
    assert "it holds GRID's ten splits" in error
    assert check_data("grid", root=home, options={"variant": "all"}).errors == []


def test_half_of_too_few_persons_is_refused(tmp_path):
    home = write_cuhk01(tmp_path / "CUHK01")
    for path in sorted((home / "campus").iterdir()):
        if not path.name.startswith("0001"):
            path.unlink()
    with pytest.raises(BadInput, match="half of the persons leave no image for train"):
        open_dataset("cuhk01", home)


def test_ten_halves_are_evaluated_at_once(tmp_path):
    """A network that was trained on other images: mean and deviation over ten halves."""
    run, home = Run(tmp_path / "run"), write_viper(tmp_path / "VIPeR")
    weights = tmp_path / "weights.pth"
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    config = ExtractConfig(height=32, width=32, workers=1, amp="off")
    extract(
        run, config=config, device="cpu", dataset="viper", root=home,
        options={"variant": "all"}, arch="shufflenet_v2_x0_5", weights=weights,
    )  # fmt: skip
    found = evaluate(run, config=EvaluateConfig(refine=("nfc",)))
    assert (found.rules, found.queries) == ("halves", 6)
    row = found.row("nfc")
    assert 0 <= row.figure("rank1") <= row.figure("rank5") <= 1
    assert set(row.std) >= {"rank1", "mAP"}
