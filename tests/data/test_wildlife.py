"""Animals of a metadata.csv: every way to tell queries, boxes, dates, and what is refused."""

import json

import pytest
import torch
from helpers.commands import nformer
from helpers.layouts import write_image
from torchvision.models import shufflenet_v2_x0_5

from pipelines import BadInput
from pipelines.data.catalogue import open_dataset, recognised
from pipelines.data.images import ImageFiles
from pipelines.preprocessing import Preprocessing
from pipelines.stages.check_data import check_data

HEADER = "image_id,identity,path,date,species,split,bbox\n"


def write_wildlife(home, lines, header=HEADER):
    home.mkdir(parents=True, exist_ok=True)
    (home / "metadata.csv").write_text(header + "".join(line + "\n" for line in lines))
    return home


def animals(home, *, split=True, count=6, images=5):
    """`count` lynxes of `images` pictures each, on as many days; lynx5 is asked for only."""
    lines = []
    for animal in range(count):
        for number in range(images):
            path = f"images/{animal}_{number}.png"
            write_image(home / path, 10 * animal + number, (20, 12))
            role = "query" if number == images - 1 or animal == 5 else "database"
            date = f"2024-01-{number + 1:02d}"
            role = role if split else ""
            lines.append(f'{len(lines)},lynx{animal},{path},{date},lynx,{role},"[2, 1, 9, 8]"')
    return write_wildlife(home, lines)


def people(data, split):
    return {sample.pid for sample in data.splits[split]}


def test_the_split_of_the_table_is_taken(tmp_path):
    data = open_dataset("wildlife", animals(tmp_path / "lynx"))
    assert data.splits["train"] == data.splits["gallery"]
    assert people(data, "gallery") == {0, 1, 2, 3, 4}
    assert people(data, "query") == {0, 1, 2, 3, 4, 5}
    assert data.rules == "wildlife-open"  # nobody knows lynx5
    assert data.labels.person(5) == "lynx5"
    assert set(data.columns["time"].values()) == set(range(5))
    report = check_data("wildlife", root=tmp_path)
    assert report.errors == []


def test_boxes_are_cut_out(tmp_path):
    data = open_dataset("wildlife", animals(tmp_path / "lynx"))
    name = data.split("query")[0].name
    assert name.endswith("#xywh=2,1,9,8")
    found = ImageFiles(data.root, [name], preprocessing=Preprocessing(height=8, width=9)).read(0)
    whole = ImageFiles(
        data.root, [name.partition("#")[0]], preprocessing=Preprocessing(height=12, width=20)
    )
    assert (found == whole.read(0)[1:9, 2:11]).all()
    lines = ['1,a,images/0_0.png,,x,database,"[2, 1, 90, 8]"', "2,a,images/0_1.png,,x,query,"]
    write_wildlife(tmp_path / "lynx", lines)
    (error,) = check_data("wildlife", root=tmp_path / "lynx").errors
    assert "its box lies outside of the picture, 20×12" in error.what


@pytest.mark.parametrize("variant", ["closed", "open", "disjoint", "time"])
def test_queries_are_drawn(tmp_path, variant):
    home = animals(tmp_path / "lynx", split=False)
    data = open_dataset("wildlife", home, options={"variant": variant})
    gallery, query = data.splits["gallery"], data.splits["query"]
    if variant == "disjoint":
        assert not people(data, "train") & people(data, "query")
        assert query == gallery
        assert data.rules == "wildlife"
        return
    assert data.splits["train"] == gallery
    assert not set(gallery) & set(query)
    assert len(gallery) + len(query) == 30
    new = people(data, "query") - people(data, "gallery")
    assert (len(new), data.rules) == (
        (1, "wildlife-open") if variant == "open" else (0, "wildlife")
    )
    if variant == "time":
        times = data.columns["time"]
        assert max(times[one.name] for one in gallery) < min(times[one.name] for one in query)
    assert open_dataset("wildlife", home, options={"variant": variant}).splits == data.splits
    if variant == "closed":
        assert open_dataset("wildlife", home).splits == data.splits  # the default without a split


@pytest.mark.parametrize(
    "lines, header, text",
    [
        (["1,a"], "image_id,identity\n", "has no column path"),
        (["1,a,../b.png,,x,query,"], HEADER, r"'\.\./b.png' must be below"),
        (["1,a,b.png,,x,query,"] * 2, HEADER, "line 3: b.png is listed twice"),
        (["1,a,b.png,,x,val,"], HEADER, "split is 'val'; wanted database or query"),
        (['1,a,b.png,,x,query,"[1, 2]"'], HEADER, "wanted .x, y, width, height. in pixels"),
        (["1,,b.png,,x,query,"], HEADER, "no image with an identity is known"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, lines, header, text):
    write_wildlife(tmp_path / "lynx", lines, header)
    with pytest.raises(BadInput, match=text):
        open_dataset("wildlife", tmp_path / "lynx")


def test_no_table_and_no_dates(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/readme").write_text("nothing")
    with pytest.raises(BadInput, match="has no metadata.csv; wildlife is a folder with one"):
        open_dataset("wildlife", tmp_path / "empty")
    write_wildlife(tmp_path / "lynx", ["1,a,b.png,,x,query,"])
    with pytest.raises(BadInput, match="--variant time: the table has no column date"):
        open_dataset("wildlife", tmp_path / "lynx", options={"variant": "time"})
    with pytest.raises(BadInput, match="wildlife has given, closed, open, disjoint, time"):
        open_dataset("wildlife", tmp_path / "lynx", options={"variant": "own"})


def test_from_a_table_to_a_result(tmp_path):
    home = animals(tmp_path / "lynx")
    weights, run = tmp_path / "weights.pth", tmp_path / "run"
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    network = f"--arch shufflenet_v2_x0_5 --weights {weights} --set height=32 --set width=32"
    done = nformer(f"extract {network} --dataset wildlife --root {home} --run {run} --device cpu")
    assert done.code == 0, done.err
    done = nformer(f"evaluate --refine nfc --rerank kr --json --run {run}")
    told = json.loads(done.out)
    assert (told["rules"], told["queries"], told["valid_queries"]) == ("wildlife-open", 10, 5)
    assert [row["name"] for row in told["results"]] == [
        *("baseline", "baseline+kr", "nfc", "nfc+kr")
    ]
    for row in told["results"]:
        assert {"BAKS", "BAUS", "BAKS-BAUS", "accuracy"} <= set(row["extra"]["figures"])


def test_other_tables_of_this_name_are_not_animals(tmp_path):
    home = animals(tmp_path / "lynx")
    assert [one.name for one in recognised(tmp_path)] == ["wildlife"]
    (home / "metadata.csv").write_text("song,artist\na,b\n")
    assert recognised(tmp_path) == []
    (home / "metadata.csv").write_bytes(b"\xff\xfe\0\xd8path")
    assert recognised(tmp_path) == []


def test_viewpoints_are_labels(tmp_path):
    header = "identity,path,split,orientation\n"
    lines = ["a,1.png,database,left", "a,2.png,query,right", "b,3.png,database,"]
    data = open_dataset("wildlife", write_wildlife(tmp_path / "lynx", lines, header))
    assert data.columns == {"viewpoint": {"1.png": 0, "2.png": 1}}
