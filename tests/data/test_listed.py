"""Products, birds, cars, clothes, vehicles, occluded persons: whole, damaged, of another kind."""

from zlib import crc32

import numpy as np
import pytest
import torch
from helpers.layouts import write_image
from scipy.io import savemat
from torchvision.models import shufflenet_v2_x0_5

from pipelines import Run, evaluate, extract, load_embeddings
from pipelines.config import EvaluateConfig, ExtractConfig
from pipelines.data.catalogue import ENTRIES, entry, open_dataset
from pipelines.errors import BadInput
from pipelines.ranking.rules import RULES
from pipelines.stages.check_data import check_data


def write_images(folder, names):
    """Pictures that differ wherever their folders or names do; VeRi-776's queries are copies."""
    for name in names:
        write_image(folder / name, crc32(f"{folder.name}/{name}".encode()))


def write_sop(home):
    for name, start in (("Ebay_train", 1), ("Ebay_test", 4)):
        lines, images = ["image_id class_id super_class_id path"], []
        for number in range(6):
            images.append(f"bicycle_final/{start}{number}_0.JPG")
            lines.append(f"{number + 1} {start + number // 2} 1 {images[-1]}")
        write_images(home, images)
        (home / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return home


def write_cub200(home):
    images = [f"{label:03d}.Bird/Bird_{n}.jpg" for label in (1, 2, 101, 102) for n in (1, 2)]
    write_images(home / "images", images)
    numbered = list(enumerate(images, 1))
    (home / "images.txt").write_text("".join(f"{n} {name}\n" for n, name in numbered))
    labels = "".join(f"{n} {int(name[:3])}\n" for n, name in numbered)
    (home / "image_class_labels.txt").write_text(labels)
    return home


def write_cars196(home):
    names = [f"car_ims/{n:06d}.jpg" for n in range(1, 9)]
    write_images(home, names)
    kind = [("relative_im_path", object), ("class", object)]
    rows = [(name, 97 + n // 2) for n, name in enumerate(names)]
    savemat(home / "cars_annos.mat", {"annotations": np.array(rows, dtype=kind)})
    return home


def write_inshop(home):
    rows = [
        (f"img/MEN/Denim/id_{item:08d}/0{n}_1_front.jpg", f"id_{item:08d}", split)
        for item, split, numbers in (
            *((1, "train", (1, 2)), (3, "train", (1, 2))),
            *((2, "query", (1,)), (2, "gallery", (2, 3))),
        )
        for n in numbers
    ]
    write_images(home, [name for name, *_ in rows])
    lines = [str(len(rows)), "image_name item_id evaluation_status", *map(" ".join, rows)]
    (home / "Eval").mkdir()
    (home / "Eval/list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return home


def write_veri776(home):
    names = ["0001_c001_00016450_0.jpg", "0001_c002_00016460_0.jpg", "0003_c003_00000001_0.jpg"]
    write_images(home / "image_train", names)
    write_images(home / "image_query", ["0002_c002_00030600_0.jpg"])
    write_images(home / "image_test", ["0002_c002_00030600_0.jpg", "0002_c014_00030605_1.jpg"])
    return home


def write_vehicleid(home):
    lists = {"train_list": (1, 2), "test_list_800": (3, 4), "test_list_1600": (3, 4, 5)}
    (home / "train_test_split").mkdir(parents=True)
    for name, vehicles in lists.items():
        rows = [(f"{10 * vehicle + n:07d}", vehicle) for vehicle in vehicles for n in range(3)]
        write_images(home / "image", [f"{image}.jpg" for image, _ in rows])
        text = "".join(f"{image} {vehicle}\n" for image, vehicle in rows)
        (home / f"train_test_split/{name}.txt").write_text(text)
    return home


def write_veriwild(home):
    lists = {
        "train_list": ["00001/000001", "00001/000002"],
        "test_3000_query": ["00007/000003"],
        "test_3000": ["00007/000004", "00008/000005"],
    }
    (home / "train_test_split").mkdir(parents=True)
    info = ["id/image;Camera ID;Time;Model;Type;Color"]
    for name, images in lists.items():
        write_images(home / "images", [f"{image}.jpg" for image in images])
        info += [f"{image};{int(image[-1])};2018-03-14 17:16:00;a;b;c" for image in images]
        (home / f"train_test_split/{name}.txt").write_text("\n".join(images) + "\n")
    (home / "train_test_split/vehicle_info.txt").write_text("\n".join(info) + "\n")
    return home


def write_occluded_duke(home):
    write_images(home / "bounding_box_train", ["0001_c2_f0046182.jpg", "0001_c5_f0051341.jpg"])
    write_images(home / "query", ["0033_c1_f0057706.jpg"])
    write_images(home / "bounding_box_test", ["0033_c8_f0045239.jpg", "0040_c3_f0045240.jpg"])
    return home


# By name: what writes a small copy, images a split, and a file to cut.
COPIES = {
    "sop": (write_sop, (6, 6, 6), "Ebay_test.txt"),
    "cub200": (write_cub200, (4, 4, 4), "images.txt"),
    "cars196": (write_cars196, (4, 4, 4), "cars_annos.mat"),
    "inshop": (write_inshop, (4, 1, 2), "Eval/list_eval_partition.txt"),
    "veri776": (write_veri776, (3, 1, 2), ""),
    "vehicleid": (write_vehicleid, (6, 6, 6), "train_test_split/test_list_800.txt"),
    "veriwild": (write_veriwild, (2, 1, 2), "train_test_split/test_3000.txt"),
    "occluded-duke": (write_occluded_duke, (2, 1, 2), ""),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_small_copy_is_read_and_has_no_error(tmp_path, name):
    write, counts, _ = COPIES[name]
    home = write(tmp_path / "a folder")
    data = open_dataset(name, home)
    found = tuple(len(data.split(split)) for split in ("train", "query", "gallery"))
    assert found == counts
    assert data.rules == entry(name).rules
    report = check_data(name, root=home)
    assert [finding.what for finding in report.errors] == []
    assert report.splits["train"]["published"]["images"] > 1000
    assert any("another data set in" in finding.what for finding in report.findings)


@pytest.mark.parametrize("name", [name for name, copy in COPIES.items() if copy[2]])
def test_a_cut_list_is_named(tmp_path, name):
    write, _, listed = COPIES[name]
    home = write(tmp_path / "a folder")
    path = home / listed
    path.write_bytes(path.read_bytes()[:-60] if name == "cars196" else b"")
    (error,) = check_data(name, root=home).errors
    assert listed.rpartition("/")[2] in error.what


@pytest.mark.parametrize("name", COPIES)
def test_a_missing_image_is_an_error(tmp_path, name):
    write = COPIES[name][0]
    home = write(tmp_path / "a folder")
    data = open_dataset(name, home)
    (home / data.split("gallery")[0].name).unlink()
    errors = check_data(name, root=home).errors
    if "duke" in name or name == "veri776":  # whose files are its list
        assert len(open_dataset(name, home).splits["gallery"]) < len(data.splits["gallery"])
    else:
        assert "there is no such file" in errors[0].what


@pytest.mark.parametrize("name", [name for name in COPIES if name != "occluded-duke"])
def test_the_wrong_kind_is_told_what_it_looks_like(tmp_path, name):
    home = COPIES[name][0](tmp_path / "a folder")
    other = "sop" if name != "sop" else "veri776"
    for place in (home, tmp_path):
        (error,) = check_data(other, root=place).errors
        assert f"this looks like {entry(name).title}; use {name}" in error.what


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
    (error,) = check_data("veriwild", root=home).errors
    assert "test_3000.txt, line 2: 00008/000005 has no line in vehicle_info.txt" in error.what


def test_names_tell_layouts_of_the_same_folders_apart(tmp_path):
    home = write_occluded_duke(tmp_path / "DukeMTMC-reID")
    (error,) = check_data("sop", root=home).errors
    assert "this looks like DukeMTMC-reID; use dukemtmcreid" in error.what


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
