"""Masks of wildlife sets: RLE and polygons of COCO, image files, and what is refused."""

import json

import numpy as np
import pytest
from helpers.commands import nformer
from PIL import Image

from pipelines import BadInput
from pipelines.data.boxes import mask_of, named_box, parts_of, with_mask
from pipelines.data.catalogue import open_dataset
from pipelines.data.images import UnreadableImage, read_item, read_part
from pipelines.stages.check_data import check_data

HEIGHT, WIDTH = 4, 6
# Column by column: 8 pixels outside, 3 inside (column 2, rows 0 to 2), the other 13 outside.
RUNS = {"size": [HEIGHT, WIDTH], "counts": [8, 3, 13]}
INSIDE = np.zeros((HEIGHT, WIDTH), dtype=bool)
INSIDE[0:3, 2] = True


def write_animals(home, cells, *, column="segmentation", box=""):
    """A bright picture of each cell, known; the last one's animal is asked for by another one."""
    (home / "images").mkdir(parents=True)
    lines = [f"identity,path,split,bbox,{column}"]
    for number, cell in enumerate([*cells, ""]):
        path = f"images/{number}.png"
        Image.new("RGB", (WIDTH, HEIGHT), (255 - number,) * 3).save(home / path)
        role = "query" if number == len(cells) else "database"
        quoted = cell.replace('"', '""')
        lines.append(f'lynx{min(number, len(cells) - 1)},{path},{role},"{box}","{quoted}"')
    (home / "metadata.csv").write_text("\n".join(lines) + "\n")
    return home


def shown(data, row=0):
    name = sorted(sample.name for sample in data.splits["gallery"])[row]
    return np.asarray(read_part(data.root, name)).any(axis=2)


def compressed():
    from pycocotools import mask

    found = mask.encode(np.asfortranarray(INSIDE.astype(np.uint8)))
    return {"size": [int(one) for one in found["size"]], "counts": found["counts"]}


@pytest.mark.parametrize("kind", ["runs", "compressed", "text"])
def test_what_lies_outside_of_an_rle_is_black(tmp_path, kind):
    pytest.importorskip("pycocotools")
    given = RUNS if kind == "runs" else compressed()  # its bytes as Python writes them
    if kind == "text":
        given["counts"] = given["counts"].decode()
    text = json.dumps(given) if kind == "runs" else repr(given)
    data = open_dataset("wildlife", write_animals(tmp_path / "lynx", [text]))
    np.testing.assert_array_equal(shown(data), INSIDE)
    assert any("made black; --no-masks" in one for one in data.notices)
    assert check_data("wildlife", root=tmp_path / "lynx").errors == []


def test_polygons_and_a_box(tmp_path):
    pytest.importorskip("pycocotools")
    square = [[1, 1, 4, 1, 4, 3, 1, 3]]  # from column 1 to 3, row 1 to 2
    home = write_animals(tmp_path / "lynx", [json.dumps(square)], box="[0, 1, 3, 2]")
    found = shown(open_dataset("wildlife", home))
    np.testing.assert_array_equal(found, [[False, True, True], [False, True, True]])


def test_image_files_are_masks(tmp_path):
    home = write_animals(tmp_path / "lynx", ["masks/a.png", "[]", "nan"], column="mask")
    (home / "masks").mkdir()
    Image.fromarray((INSIDE * 255).astype(np.uint8)).save(home / "masks/a.png")
    data = open_dataset("wildlife", home)
    np.testing.assert_array_equal(shown(data, 0), INSIDE)
    assert shown(data, 1).all()
    assert shown(data, 2).all()
    name = "images/0.png#mask=masks/a.png"
    assert name in {sample.name for sample in data.splits["gallery"]}
    np.testing.assert_array_equal(np.asarray(read_item(name, [str(home)])).any(axis=2), INSIDE)


def test_no_masks_leaves_pictures_as_they_are(tmp_path):
    home = write_animals(tmp_path / "lynx", ["masks/missing.png"])
    data = open_dataset("wildlife", home, options={"no_masks": True})
    assert shown(data).all()
    assert data.options == {"no_masks": True}
    assert nformer(f"check-data wildlife --root {home} --no-masks").code == 0
    told = nformer(f"check-data wildlife --root {home}")
    assert told.code == 1
    assert "masks/missing.png" in told.out + told.err


@pytest.mark.parametrize(
    "cell",
    [
        *("{'size': [4, 6]}", "{'size': [4], 'counts': [24]}", "{'size': [4, 6], 'counts': [-1]}"),
        *("[1, 2, 3]", "[[1, 2, 'a', 4, 5, 6]]", "[" * 5000, "{1: __import__('os')}"),
        *("../a.png", "/etc/passwd", "a#b.png"),
    ],
)
def test_a_cell_that_is_no_mask_is_refused_by_its_line(tmp_path, cell):
    home = write_animals(tmp_path / "lynx", [cell])
    with pytest.raises(BadInput, match="line 2: mask .*wanted COCO's RLE"):
        open_dataset("wildlife", home)


def test_a_mask_of_another_size_or_of_bytes_that_are_none_is_that_pictures_fault(tmp_path):
    pytest.importorskip("pycocotools")
    other = json.dumps({"size": [2**30, 2**30], "counts": [5]})
    data = open_dataset("wildlife", write_animals(tmp_path / "a", [other]))
    with pytest.raises(UnreadableImage, match="its mask is of .* the picture of 6×4"):
        shown(data)
    short = repr({"size": [HEIGHT, WIDTH], "counts": b"~~~"})
    data = open_dataset("wildlife", write_animals(tmp_path / "b", [short]))
    with pytest.raises(UnreadableImage, match="its mask cannot be decoded"):
        shown(data)


def test_a_mask_that_changed_makes_another_name_and_the_old_one_is_not_found(tmp_path):
    pytest.importorskip("pycocotools")
    home = write_animals(tmp_path / "lynx", [json.dumps(RUNS)])
    before = open_dataset("wildlife", home)
    text = (home / "metadata.csv").read_text()
    (home / "metadata.csv").write_text(text.replace("13]", "12, 1]"))
    after = open_dataset("wildlife", home)
    assert after.digest("gallery") != before.digest("gallery")
    with pytest.raises(UnreadableImage, match="not in .*metadata.csv any more"):
        shown(before)


def test_names_of_masks_and_boxes():
    box = named_box("a.png", (1, 2, 3, 4))
    assert with_mask(box, "m.png") == "a.png#xywh=1,2,3,4&mask=m.png"
    assert with_mask("a#b.png", "t.csv:0f") == "a#b.png#mask=t.csv:0f"
    assert with_mask(box, "") == box
    for name in (box, "a#b.png", "a.png#xywh=1,2,3,4&track=mask=7"):
        assert mask_of(name) == ""
    assert parts_of("a.png#xywh=1,2,3,4&mask=m.png&track=7") == ("a.png", (1, 2, 3, 4))
    assert parts_of("a#b.png#mask=t.csv:0f") == ("a#b.png", None)
    assert mask_of("a.png#xywh=1,2,3,4&mask=m.png&track=7") == "m.png"
