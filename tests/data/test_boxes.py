"""Boxes in every format that people have; what does not fit is named with its line."""

import json

import pytest

from pipelines.data.boxes import named_box, parts_of, read_boxes, within
from pipelines.errors import BadInput

FRAMES = ["cam1/000001.jpg", "cam1/000002.jpg"]
WANTED = ("cam1/000001.jpg#xywh=10,20,30,40", "cam1/000002.jpg#xywh=1,2,3,4")


def written(folder, text, name="boxes.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "frame,x,y,w,h,score,track\n000001.jpg,10,20,30,40,0.5,7\n000002.jpg,1,2,3,4,0.25,8\n",
        "Image;Left;Top;Width;Height;Conf;Track_ID\n/abs/cam1/000001.jpg;10;20;30;40;0.5;7\n"
        "cam1\\000002.jpg;1;2;3;4;0.25;8\n",
        "\ufefffile_name\tx1\ty1\tx2\ty2\tconfidence\tid\r\n"
        "cam1/000001.jpg\t10\t20\t40\t60\t0.5\t7\r\n1e\t0\t0\t0\t0\t0\t0\r\n"
        .replace("1e\t0\t0\t0\t0\t0\t0", "cam1/000002.jpg\t1\t2\t4\t6\t0.25\t8"),
        "1,7,11,21,30,40,0.5,-1,-1,-1\n2,8,2,3,3,4,0.25,-1,-1,-1\n",
        "1 7 11 21 30 40 0.5\n2 8 2 3 3 4 0.25\n",
    ],
    ids=["csv", "semicolons", "corners", "mot", "mot by spaces"],
)  # fmt: skip
def test_tables_of_boxes_are_understood(tmp_path, text):
    found = read_boxes(written(tmp_path, text), frames=FRAMES).boxes
    assert tuple(box.name for box in found) == WANTED
    assert [(box.score, box.track) for box in found] == [(0.5, "7"), (0.25, "8")]


def test_json_of_coco_and_plain_lists_are_understood(tmp_path):
    coco = {
        "images": [{"id": 5, "file_name": "000001.jpg"}, {"id": 6, "file_name": "000002.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 5, "bbox": [10, 20, 30, 40], "score": 0.5, "track_id": 7},
            {"id": 2, "image_id": 6, "bbox": [1, 2, 3, 4]},
        ],
    }
    plain = [
        {"image_id": 1, "bbox": [10, 20, 30, 40], "score": 0.5, "track": 7},
        {"path": "cam1/000002.jpg", "xmin": 1, "ymin": 2, "xmax": 4, "ymax": 6},
    ]
    for content in (coco, plain):
        path = written(tmp_path, json.dumps(content), "boxes.json")
        found = read_boxes(path, frames=FRAMES).boxes
        assert tuple(box.name for box in found) == WANTED
        assert [box.track for box in found] == ["7", ""]


def test_what_was_understood_is_said(tmp_path):
    text = "image,left,top,width,height,id\n000001.jpg,1,2,3,4,a\n000001.jpg,5,6,7,8,b\n"
    (said,) = read_boxes(written(tmp_path, text), frames=FRAMES).understood
    assert "'image' as frame, 'left' as x" in said
    assert "2 boxes in 1 frames, 2 tracks" in said


def test_a_track_of_minus_one_is_none(tmp_path):
    found = read_boxes(written(tmp_path, "1,-1,2,2,3,4,0.5\n"), frames=FRAMES).boxes
    assert found[0].track == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no column frame"),
        ("frame,x,y\n000001.jpg,1,2\n", "no column w or x2, h or y2"),
        ("frame,x,y,w,h\n", "holds no boxes"),
        ("frame,x,y,w,h\n000009.jpg,1,2,3,4\n", "line 2: frame '000009.jpg': there is no such"),
        ("frame,x,y,w,h\n000001.jpg,1,2,three,4\n", "line 2: w is 'three'"),
        ("frame,x,y,w,h\n000001.jpg,1,2,nan,4\n", "line 2: w is 'nan'"),
        ("frame,x,y,w,h\n000001.jpg,1,2,-3,4\n", "line 2: wanted a width and a height above 0"),
        ("frame,x,y,w,h\n000001.jpg,1,2\n", "line 2 has 3 fields"),
        (b"\xff\xfe\x00", "boxes.csv"),
    ],
)
def test_what_is_no_box_is_named(tmp_path, text, problem):
    with pytest.raises(BadInput, match="boxes.csv") as caught:
        read_boxes(written(tmp_path, text), frames=FRAMES)
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["{", "{}", "3", "[1]", '[{"image_id": 1}]', '{"annotations": 3}'])
def test_json_that_holds_no_boxes_is_one_sentence(tmp_path, text):
    with pytest.raises(BadInput, match=r"boxes\.json"):
        read_boxes(written(tmp_path, text, "boxes.json"), frames=FRAMES)


def test_a_box_is_cut_at_the_edge_and_refused_outside(tmp_path):
    text = "frame,x,y,w,h\n000001.jpg,-5,90,20,30\n000001.jpg,100,0,5,5\n"
    edge, outside = read_boxes(written(tmp_path, text), frames=FRAMES).boxes
    assert within(edge, width=100, height=100).rectangle == (0, 90, 15, 10)
    with pytest.raises(BadInput, match=r"line 3: the box 100,0,5,5 .* which is 100×100"):
        within(outside, width=100, height=100)


def test_a_name_gives_its_parts_back():
    name = named_box("a b#c.jpg", (1, 2, 3, 4), track="x&y=1")
    assert parts_of(name) == ("a b#c.jpg", (1, 2, 3, 4))
    assert parts_of("a#b.jpg") == ("a#b.jpg", None)
