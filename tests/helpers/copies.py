"""Small made-up copies of data sets, file names and lists as in the real ones."""

from json import dumps
from zlib import crc32

import numpy as np
from scipy.io import savemat

from .layouts import write_image


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


def write_ltcc(home):
    write_images(home / "train", [f"{pid:03d}_{n}_c{n}_0158.png" for pid in (1, 2) for n in (1, 2)])
    write_images(home / "query", ["077_1_c1_0001.png"])
    test = ["077_1_c2_0002.png", "077_2_c3_0003.png", "078_1_c12_0004.png"]
    write_images(home / "test", test)
    return home


def write_prcc(home):
    for pid in ("001", "002"):
        names = [f"{letter}_cropped_rgb00{n}.jpg" for letter in "ABC" for n in (1, 2)]
        write_images(home / "rgb/train" / pid, names)
    for letter in "ABC":
        for pid in ("074", "075"):
            names = ["cropped_rgb001.jpg", "cropped_rgb002.jpg"]
            for name in names:
                path = home / "rgb/test" / letter / pid / name
                write_image(path, crc32(f"{letter}/{pid}/{name}".encode()))
    return home


def write_vc_clothes(home):
    train = [f"{pid:04d}-0{c}-0{c // 4 + 1}-01.jpg" for pid in (1, 2) for c in (1, 2, 3, 4)]
    write_images(home / "train", train)
    write_images(home / "query", ["0301-02-01-01.jpg", "0301-04-02-01.jpg"])
    test = [f"{pid:04d}-0{c}-0{c // 4 + 1}-02.jpg" for pid in (301, 302) for c in (1, 2, 3, 4)]
    write_images(home / "gallery", test)
    return home


def write_sysu(home):
    (home / "exp").mkdir(parents=True)
    for name, persons in (("train", "1, 4"), ("val", "2"), ("test", "6,10")):
        (home / f"exp/{name}_id.txt").write_text(f"{persons}\n")
    seen = {1: (1, 2, 6, 10), 2: (6,), 3: (1, 2, 4, 6), 4: (4, 10), 6: (10,)}
    for camera, persons in seen.items():
        for person in persons:
            for number in (1, 2):
                path = home / f"cam{camera}/{person:04d}/{number:04d}.jpg"
                write_image(path, crc32(f"{camera} {person} {number}".encode()))
    return home


def write_regdb(home):
    (home / "idx").mkdir(parents=True)
    for kind, sign in (("Visible", "v"), ("Thermal", "t")):
        for part, first in (("train", 1), ("test", 3)):
            for split in (1, 2):
                folders = [(first - 1 + n + 2 * split) % 4 + 1 for n in (0, 1)]
                lines = []
                for label, folder in enumerate(folders):
                    names = [f"male_front_{sign}_{n}_{folder}.bmp" for n in (1, 2)]
                    write_images(home / kind / str(folder), names)
                    lines += [f"{kind}/{folder}/{name} {label}" for name in names]
                path = home / f"idx/{part}_{kind.lower()}_{split}.txt"
                path.write_text("\n".join(lines) + "\n")
    return home


def write_occluded_reid(home):
    for folder in ("occluded_body_images", "whole_body_images"):
        for pid in ("001", "002"):
            for number in (1, 2):
                name = f"{pid}_0{number}.tif"
                write_image(home / folder / pid / name, crc32(f"{folder} {name}".encode()))
    return home


def write_partial_reid(home):
    for kind in ("partial", "occluded", "whole"):
        write_images(home / f"{kind}_body_images", ["001_001.jpg", "001_002.jpg", "002_001.jpg"])
    return home


def write_viper(home):
    for folder, view in (("cam_a", 0), ("cam_b", 90)):
        write_images(home / folder, [f"{pid:03d}_{view}.bmp" for pid in range(6)])
    return home


def write_prid450s(home):
    for folder in ("cam_a", "cam_b"):
        names = [f"{kind}_{pid:03d}.png" for pid in range(1, 6) for kind in ("img", "seg")]
        write_images(home / folder, names)
    return home


def write_grid(home):
    """Four persons, three others in the gallery; the second split trains on 1 and 3."""
    write_images(home / "probe", [f"{pid:04d}_1_25_1_1_9_22.jpeg" for pid in (1, 2, 3, 4)])
    others = [f"0000_{camera}_99_1_1_9_22.jpeg" for camera in (5, 6, 7)]
    write_images(home / "gallery", [f"{pid:04d}_2_25_1_1_9_22.jpeg" for pid in (1, 2, 3, 4)])
    write_images(home / "gallery", others)
    training = [[1, 2], [1, 3]] + [[2, 4]] * 8
    cells = np.empty((1, 10), object)
    for number, people in enumerate(training):
        cells[0, number] = {"a": 0, "b": 0, "trainIdx": np.array([people])}
    savemat(home / "features_and_partitions.mat", {"trainIdxAll": cells})
    return home


def write_cuhk01(home):
    names = [f"{pid:04d}{image:03d}.png" for pid in range(1, 6) for image in (1, 2, 3, 4)]
    write_images(home / "campus", names)
    return home


def write_mars(home):
    """Persons 1 and 3 to train on; 2 and 4 to find, a distractor and junk among them."""
    tracks = {
        "train": [("0001", 1, 2), ("0001", 2, 3), ("0003", 1, 2), ("0003", 4, 2)],
        "test": [
            *(("00-1", 1, 2), ("0000", 3, 2), ("0002", 1, 3), ("0002", 2, 2)),
            *(("0004", 5, 2), ("0004", 6, 4)),
        ],
    }
    (home / "info").mkdir(parents=True)
    for part, listed in tracks.items():
        names, rows = [], []
        for person, camera, count in listed:
            own = [f"{person}C{camera}T0001F{frame:03d}.jpg" for frame in range(1, count + 1)]
            write_images(home / f"bbox_{part}" / person, own)
            pid = -1 if person == "00-1" else int(person)
            rows.append([len(names) + 1, len(names) + count, pid, camera])
            names += own
        (home / f"info/{part}_name.txt").write_text("".join(f"{name}\n" for name in names))
        savemat(home / f"info/tracks_{part}_info.mat", {f"track_{part}_info": np.array(rows)})
    savemat(home / "info/query_IDX.mat", {"query_IDX": np.array([[3, 5]])})
    return home


ILIDS_SPLITS = "train-test people splits/train_test_splits_ilidsvid.mat"


def write_ilids_vid(home):
    for camera in (1, 2):
        for person in (1, 2, 4, 7):
            names = [f"cam{camera}_person{person:03d}_{frame:05d}.png" for frame in range(3)]
            write_images(home / f"i-LIDS-VID/sequences/cam{camera}/person{person:03d}", names)
    (home / ILIDS_SPLITS).parent.mkdir()
    orders = np.array([[2, 4, 1, 3]] + [[1, 2, 3, 4]] * 9)
    savemat(home / ILIDS_SPLITS, {"ls_set": orders})
    return home


def write_prid2011(home):
    for camera in "ab":
        for person in (1, 2, 3, 9):
            place = home / f"prid_2011/multi_shot/cam_{camera}/person_{person:04d}"
            for frame in range(1, 4):
                seed = crc32(f"{camera} {person} {frame}".encode())
                write_image(place / f"{frame:04d}.png", seed)
    split = {"train": ["person_0001"], "test": ["person_0002", "person_0009"]}
    (home / "splits_prid2011.json").write_text(dumps([split] * 10))
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
    "ltcc": (write_ltcc, (4, 1, 3), ""),
    "prcc": (write_prcc, (12, 4, 4), ""),
    "sysu-mm01": (write_sysu, (12, 4, 8), "exp/test_id.txt"),
    "regdb": (write_regdb, (8, 4, 4), "idx/test_visible_1.txt"),
    "occluded-reid": (write_occluded_reid, (0, 4, 4), ""),
    "partial-reid": (write_partial_reid, (0, 3, 3), ""),
    "viper": (write_viper, (6, 3, 3), ""),
    "prid450s": (write_prid450s, (4, 3, 3), ""),
    "grid": (write_grid, (4, 2, 5), ""),
    "cuhk01": (write_cuhk01, (8, 6, 6), ""),
    "mars": (write_mars, (4, 2, 5), "info/query_IDX.mat"),
    "ilids-vid": (write_ilids_vid, (4, 2, 2), ILIDS_SPLITS),
    "prid2011": (write_prid2011, (2, 2, 2), "splits_prid2011.json"),
    "vc-clothes": (write_vc_clothes, (8, 2, 8), ""),
}
