"""Search: the same ranking that refining and sorting gives, a threshold, crops, and pictures."""

import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from helpers.embedding import embed_images
from helpers.gallery_runs import GALLERY, people, run_with
from PIL import Image, ImageFont
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Embeddings, Run
from pipelines.artifacts.backbone import save_backbone
from pipelines.artifacts.embeddings import load_embeddings, save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.backbones.backbone import build_backbone
from pipelines.config import ExtractConfig
from pipelines.data.images import read_image
from pipelines.errors import BadInput, StaleArtifact
from pipelines.extraction.networks import open_network
from pipelines.extraction.pictures import cropped
from pipelines.gallery.answers import Answer, Hit, SearchResult
from pipelines.gallery.asked import parsed_crop, parsed_threshold
from pipelines.gallery.calibration import Calibration, calibrate, some_identities
from pipelines.gallery.index_file import open_index
from pipelines.gallery.states import refine_queries
from pipelines.reporting import montage
from pipelines.reporting.montage import said_of, summary, verdict, write_montage, write_page
from pipelines.stages.change_index import add_to_index, remove_from_index
from pipelines.stages.index import index_gallery
from pipelines.stages.search_images import search_images


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    run = run_with(folder, GALLERY)
    index_gallery(run)
    return run, folder


def test_ranking_is_that_of_refined_embeddings(indexed):
    run, folder = indexed
    result = search_images(run, [folder / "e.npz"], top=5)
    state = open_index(run.path("index.h5")).state
    queries = people(500, 10, 1, 2, "query")
    refined = refine_queries(state, queries["query_features"])
    gallery = state.refined.numpy()
    refined /= np.linalg.norm(refined, axis=1, keepdims=True)
    similarity = refined @ (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).T
    assert result.refined
    assert result.gallery == 120
    assert [answer.query for answer in result.answers] == queries["query_names"].tolist()
    for row, answer in zip(similarity, result.answers, strict=True):
        best = np.argsort(-row, kind="stable")[:5]
        assert [hit.name for hit in answer.hits] == GALLERY["gallery_names"][best].tolist()
        assert [hit.pid for hit in answer.hits] == GALLERY["gallery_pids"][best].tolist()
        assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4, 5]
        found = [hit.similarity for hit in answer.hits]
        np.testing.assert_allclose(found, row[best], atol=2e-6)
        assert answer.nearest is None
        assert 0 < answer.own <= 1
        assert answer.own + sum(share for _, share in answer.listened) <= 1 + 1e-5
        assert answer.nobody is None
    assert list(result.seconds) == [
        "imports", "open index", "read queries", "refine", "rank", "explain",
    ]  # fmt: skip
    assert json.loads(result.to_json())["answers"][0]["hits"][0]["rank"] == 1


def test_threshold(indexed):
    run, folder = indexed
    calibrated = search_images(run, [folder / "e.npz"], threshold="auto", false_accepts=0.1)
    assert calibrated.false_accepts == pytest.approx(0.1, abs=0.03)
    queries, gallery = people(500, 10, 1, 2, "query")["query_features"], GALLERY["gallery_features"]
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    before = queries @ (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).T
    nearest = [answer.nearest for answer in calibrated.answers]
    np.testing.assert_allclose(nearest, before.max(axis=1), atol=1e-6)
    above = [similarity >= calibrated.threshold for similarity in nearest]
    assert [not answer.nobody for answer in calibrated.answers] == above
    strict = search_images(run, [folder / "e.npz"], threshold=0.999999)
    assert all(answer.nobody for answer in strict.answers)
    assert verdict(strict.answers[0], strict).startswith("nobody here: before refinement 0.")
    with pytest.raises(BadInput, match=r"--false-accept 0.0001: \d+ strangers calibrate rates fr"):
        search_images(run, [folder / "e.npz"], threshold="auto", false_accepts=0.0001)
    with pytest.raises(BadInput, match="--top 0: at least one item must be asked for"):
        search_images(run, [folder / "e.npz"], top=0)


def test_no_calibration_without_training_identities(tmp_path):
    run = run_with(tmp_path, GALLERY, train=False)
    index_gallery(run)
    with pytest.raises(BadInput, match=r"--threshold auto: .* has no calibration, which takes tra"):
        search_images(run, [tmp_path / "e.npz"], threshold="auto")
    assert search_images(run, [tmp_path / "e.npz"], threshold=0.5).false_accepts is None


def test_calibration_by_hand():
    scores = Calibration([0.1, 0.2, 0.3, 0.4, 0.5], [0.35, 0.9], 5, 2, 10)
    assert scores.threshold(0.4) == pytest.approx(0.34)  # two of five lie above
    assert scores.false_accepts(0.34) == 0.4
    assert scores.accepts(0.36) == 0.5


def test_strangers_reach_less_than_people_who_are_there():
    rows = people(0, 32, 6, 1, "x")
    train = Embeddings(rows["x_features"], rows["x_pids"], rows["x_camids"])
    found = calibrate(train)
    assert (found.stranger_count, found.friend_count, found.gallery) == (192, 192, 192)
    assert np.median(found.strangers) < np.median(found.friends)
    assert calibrate(train.select(train.pids < 15)) is None


def test_strangers_are_compared_with_all_other_people():
    rows = np.repeat(np.eye(16, dtype=np.float32), 2, axis=0)  # two pictures of each of 16
    rows[0] = [0.6, 0.8] + [0.0] * 14  # the first of person 0 looks more like person 1
    pids = np.repeat(np.arange(16), 2)
    found = calibrate(Embeddings(rows, pids, np.zeros(32, int)))
    assert found.strangers == pytest.approx([0.0] * 29 + [0.8] * 3)  # itself, and both of person 1
    assert found.friends == pytest.approx([0.6] + [0.8] + [1.0] * 30)
    alone = calibrate(Embeddings(rows[::2], pids[::2], np.zeros(16, int)))
    assert alone is None  # nobody has another picture


def test_some_identities_are_whole():
    rows = people(0, 32, 6, 1, "x")
    train = Embeddings(rows["x_features"], rows["x_pids"], rows["x_camids"])
    some = some_identities(train, most=50, seed=0)
    assert len(some) == 48
    assert (np.unique(some.pids, return_counts=True)[1] == 6).all()
    assert some_identities(train, most=192, seed=0) is train


def test_crops(tmp_path):
    image = Image.new("RGB", (20, 10))
    assert cropped(image, (5, 0, 10, 10), path=tmp_path).size == (10, 10)
    for crop in ((15, 0, 10, 10), (0, 0, 0, 5), (0, 1, 5, 10)):
        with pytest.raises(BadInput, match=r"--crop .* lies outside of .*, which is 20×10; want"):
            cropped(image, crop, path=tmp_path)
    assert parsed_crop("1, 2,3,4") == (1, 2, 3, 4)
    assert parsed_crop("") is None
    for text in ("1,2,3", "a,2,3,4", "-1,2,3,4"):
        with pytest.raises(BadInput, match=r"--crop .*: wanted x,y,width,height in pixels"):
            parsed_crop(text)


def test_thresholds_on_the_command_line():
    assert parsed_threshold("") is None
    assert parsed_threshold("auto") == "auto"
    assert parsed_threshold("0.5") == 0.5
    for text in ("much", "1.5"):
        with pytest.raises(BadInput, match=r"wanted auto, or a similarity from -1 to 1"):
            parsed_threshold(text)


@pytest.fixture
def shown(tmp_path):
    Image.new("RGB", (30, 60), "red").save(tmp_path / "<q>.png")
    Image.new("RGB", (30, 60), "blue").save(tmp_path / "g.png")
    hits = [Hit(1, "g.png", 7, 2, 0.9, 0.7, 0.25), Hit(2, "gone.png", -1, -1, 0.5, 0.4, 0.0)]
    answer = Answer("<q>.png", hits, 0.7, False, [("g.png", 0.25)], 0.75, str(tmp_path / "<q>.png"))
    return SearchResult(2, True, "closed form, gate", 0.6, 0.01, [answer], str(tmp_path))


def test_montage(tmp_path, shown):
    path = write_montage(shown, tmp_path / "found.png")
    with Image.open(path) as sheet:
        assert sheet.size == (3 * 104 + 8, 246 + 8)
        assert sheet.getpixel((8 + 48, 8 + 96)) == (255, 0, 0)
        assert sheet.getpixel((112 + 48, 8 + 96)) == (0, 0, 255)
        assert sheet.getpixel((216 + 48, 8 + 96)) == (211, 211, 211)  # not on this machine
    with Image.open(write_montage(shown, tmp_path / "found.jpg")) as sheet:
        assert sheet.format == "JPEG"
    with pytest.raises(BadInput, match=r"found.txt: wanted a name that ends in .png"):
        write_montage(shown, tmp_path / "found.txt")


def test_a_caption_names_the_picture_of_whom_nobody_knows(shown):
    font = ImageFont.truetype(
        Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 11
    )
    hits = [
        Hit(1, "may/door/0.png", -1, -1, 0.9, 0.7, 0.25),
        Hit(2, "may/door/1.png", -1, 3, 0.8, 0.7, 0.0, camera="hall"),
        Hit(3, "may/door/2.png", 7, 3, 0.7, 0.7, 0.0),
    ]
    answer = replace(shown.answers[0], hits=hits)
    assert montage._captions(answer, font)[1:] == [
        ["1   0.900", "door/0.png", "lent 25%"],
        ["2   0.800", "door/1.png", "cam hall"],
        ["3   0.700", "id 7, cam 3"],
    ]


def test_captions_stay_below_their_pictures(tmp_path):
    names = [("Ana-María " * 3, "Haupteingang Nord"), ("7", "2"), ("", ""), ("W" * 30, "W" * 30)]
    hits = [
        Hit(1, "g", 1 if who else -1, 1 if where else -1, 0.9, 0.7, 0.2, [], who, where)
        for who, where in names
    ]
    answer = Answer("_c2_" * 20 + ".jpg", hits, 0.7, False, [], 0.8)
    path = write_montage(SearchResult(2, True, "x", 0.6, 0.01, [answer], ""), tmp_path / "m.png")
    with Image.open(path) as sheet:
        ink = np.asarray(sheet.convert("L"))[8 + 192 :] < 250  # [H, W], below the pictures
    for column in range(5):
        left = 8 + column * 104
        assert ink[:, left : left + 96].any()
        assert not ink[:, left + 97 : left + 103].any()  # one pixel for what a letter hangs over
    assert ink[41:52].any() and not ink[-4:].any()  # the fourth line: lent


def test_page(tmp_path, shown):
    text = write_page(shown, tmp_path / "found.html").read_text()
    assert "&lt;q&gt;.png" in text and "<q>" not in text
    assert text.count("data:image/jpeg;base64,") == 2
    assert "http" not in text and "<script" not in text
    assert 'alt="rank 1: g.png"' in text
    assert 'aria-label="rank 2: gone.png: no picture"' in text
    assert "1. id 7, camera 2, 0.900, lent 25.0%" in text
    assert "somebody is here: before refinement 0.700 ≥ 0.600" in text
    assert summary(shown) == (
        "1 query among 2 gallery items, refined by closed form, gate; nobody below a similarity of "
        "0.600 before refinement, which 1.0% of the strangers in training reach"
    )
    with pytest.raises(BadInput, match=r"found.txt: wanted a name that ends in .html"):
        write_page(shown, tmp_path / "found.txt")


def test_wrong_width(indexed, tmp_path):
    run, _ = indexed
    np.savez(tmp_path / "w.npz", query_features=np.ones((1, 3)), query_pids=[1])
    with pytest.raises(BadInput, match=r"embeddings are 3 wide, the gallery's \d+; one network"):
        search_images(run, [tmp_path / "w.npz"])
    with pytest.raises(BadInput, match="nothing given; name pictures, folders of them, or files"):
        search_images(run, [])


def stripes(path, seed):
    """A picture of broad stripes in the seed's colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 1, 3), dtype=np.uint8)
    pixels = np.repeat(np.repeat(colours, 16, axis=0), 32, axis=1)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photographed(tmp_path):
    """A run whose gallery are six pictures, embedded by an untrained network as extract does."""
    torch.manual_seed(0)
    run, facts = Run(tmp_path / "run"), {"arch": "resnet18", "last_stage": "stride2"}
    backbone = build_backbone(**facts, classes=2, dim=16)
    with run.writing(Manifest("backbone.pt", "train-backbone", {}, {})) as (path, _):
        size = {"height": 64, "width": 32}
        save_backbone(path, backbone, facts={**facts, "dim": 16, "classes": 2, **size})
    (tmp_path / "gallery").mkdir()
    for number in range(6):
        stripes(tmp_path / "gallery" / f"{number}.png", number)
    pictures = [read_image(path) for path in sorted((tmp_path / "gallery").iterdir())]
    network = open_network(
        run, None, config=ExtractConfig(), device=torch.device("cpu"), use="once"
    )
    features = embed_images(network, pictures)
    items = Embeddings(
        features, np.arange(6), np.zeros(6), [f"gallery/{number}.png" for number in range(6)]
    )
    facts = {"root": str(tmp_path)}
    inputs = {"backbone.pt": run.digest("backbone.pt")}
    with run.writing(Manifest("embeddings.h5", "extract", {}, inputs, facts)) as (path, _):
        save_embeddings(path, gallery=items)
    index_gallery(run)
    return run, tmp_path


def test_a_picture_finds_itself(photographed):
    run, folder = photographed
    result = search_images(run, [folder / "gallery"], top=2, device="cpu")
    assert [Path(answer.query).name for answer in result.answers] == [f"{i}.png" for i in range(6)]
    assert [answer.hits[0].pid for answer in result.answers] == [0, 1, 2, 3, 4, 5]
    assert all(answer.hits[0].similarity == pytest.approx(1, abs=1e-5) for answer in result.answers)
    with Image.open(write_montage(result, folder / "found.png")) as sheet:
        assert sheet.size == (3 * 104 + 8, 6 * 246 + 8)
    part = search_images(run, [folder / "gallery" / "3.png"], crop=(0, 0, 32, 20), device="cpu")
    assert part.answers[0].hits[0].similarity < 0.9999
    with pytest.raises(BadInput, match=r"--crop 0,0,33,20 lies outside of .*3.png, which is 32×64"):
        search_images(run, [folder / "gallery" / "3.png"], crop=(0, 0, 33, 20), device="cpu")
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"broken.png: it is no image of a known kind: replace what"):
        search_images(run, [folder / "broken.png"], device="cpu")


def test_pictures_are_added_under_their_absolute_paths(photographed):
    run, folder = photographed
    (folder / "new").mkdir()
    stripes(folder / "new" / "a.png", 40)
    stripes(folder / "new" / "b.png", 41)
    assert add_to_index(run, [folder / "new"], pid=77, camid=3, device="cpu") == 2
    hit = search_images(run, [folder / "new" / "b.png"], top=1, device="cpu").answers[0].hits[0]
    assert (hit.name, hit.pid, hit.camid) == (str(folder / "new" / "b.png"), 77, 3)
    assert hit.similarity == pytest.approx(1, abs=1e-5)
    assert remove_from_index(run, f"{folder}/new/*") == 2


def test_a_training_image_is_said_to_be_one(photographed, monkeypatch):
    run, folder = photographed
    gallery = load_embeddings(run.path("embeddings.h5"), "gallery")
    (folder / "train").mkdir()
    for number in range(2):
        stripes(folder / "train" / f"{number}.png", 20 + number)
    train = Embeddings(gallery.features[:2], [9, 5], [0, 0], ["train/0.png", "train/1.png"])
    found = run.require_manifest("embeddings.h5")
    with run.writing(found) as (path, _):
        save_embeddings(path, train=train, gallery=gallery)
    index_gallery(run, overwrite=True)
    others = [folder / "gallery" / "3.png", folder / "found.png"]
    stripes(others[1], 9)
    result = search_images(run, [folder / "train", *others], top=1, device="cpu")
    assert [answer.training for answer in result.answers] == [True, True, False, False]
    assert [said_of(answer, result) for answer in result.answers] == [
        [
            "this is a training image: the index holds the test people only, so nobody in it is "
            "this person"
        ],
        ["this is a training image: the index holds the test images only"],
        [],
        [],
    ]
    monkeypatch.setenv("COLUMNS", "120")
    asked = ["search", str(folder / "train" / "0.png"), "--run", str(run.folder), "--top", "1"]
    done = CliRunner().invoke(app, [*asked, "--device", "cpu", "--html", str(folder / "f.html")])
    said = "this is a training image: the index holds the test people only, so nobody in it is this"
    assert f"\n{said} person\n" in done.stdout  # one line, whatever the table's width
    assert said in (folder / "f.html").read_text()


def test_another_backbone_than_the_gallerys_is_refused(photographed):
    run, folder = photographed
    with run.writing(Manifest("backbone.pt", "train-backbone", {"seed": 1}, {})) as (path, _):
        path.write_bytes(b"another")
    with pytest.raises(
        StaleArtifact, match=r"embeddings.h5 was made with another backbone.pt than"
    ):
        search_images(run, [folder / "gallery" / "3.png"], device="cpu")


def test_command_lines(photographed):
    run, folder = photographed
    runner, named = CliRunner(), ["--run", str(run.folder)]
    picture = str(folder / "gallery" / "2.png")
    done = runner.invoke(app, ["search", picture, *named, "--top", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "2.png" in done.stdout and "1.000" in done.stdout
    assert re.search(r"1 query among 6 gallery items, .*; \d+\.\d\d s\n$", done.stderr)
    done = runner.invoke(app, ["search", picture, *named, "--json", "--device", "cpu"])
    told = json.loads(done.stdout)
    assert told["answers"][0]["hits"][0]["name"] == "gallery/2.png"
    assert set(told["seconds"]) >= {"imports", "open index", "embed", "rank"}
    stripes(folder / "c.png", 50)
    for arguments in (
        ["index", "add", str(folder / "c.png"), *named, "--device", "cpu"],
        ["index", *named, "remove", "*/c.png"],
        ["index", *named],
    ):
        done = runner.invoke(app, arguments)
        assert done.exit_code == 0, done.output
    assert "items added since it was built: 1, removed: 1" in done.stderr.replace("\n", " ")


def test_pictures_and_pages_from_the_command_line(photographed):
    run, folder = photographed
    gallery, sheet, page = (str(folder / name) for name in ("gallery", "found.png", "found.html"))
    asked = ["search", gallery, "--run", str(run.folder), "--device", "cpu", "--top", "2"]
    shown = ["--montage", sheet, "--html", page, "--crop", "0,0,32,32", "--threshold", "0.5"]
    done = CliRunner().invoke(app, [*asked, *shown])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("somebody is here: similarity") == 6  # nothing is refined here
    assert f"montage: {sheet}\n" in done.stderr and f"page: {page}\n" in done.stderr
    assert Path(sheet).stat().st_size and Path(page).read_text().count("<section>") == 6
    (folder / "gallery").rename(folder / "now")
    (folder / "now" / "gallery").mkdir()
    for picture in (folder / "now").glob("*.png"):
        picture.rename(folder / "now" / "gallery" / picture.name)
    asked[1] = str(folder / "now" / "gallery")
    done = CliRunner().invoke(app, [*asked, *shown])
    assert re.search(rf"(\d) of \1 images are not below {folder}, such as gallery/", done.stderr)
    assert "Say where they are: --root DIR" in done.stderr
    assert Path(page).read_text().count("data:image/jpeg") == 6  # the queries alone
    done = CliRunner().invoke(app, [*asked, *shown, "--root", str(folder / "now")])
    assert "are not below" not in done.stderr
    assert Path(page).read_text().count("data:image/jpeg") == 6 * 3
    done = CliRunner().invoke(app, [*asked, *shown, "--root", str(folder / "now" / "gallery")])
    assert "gallery is neither used nor remembered" in done.stderr.replace("\n", " ")
    assert Path(page).read_text().count("data:image/jpeg") == 6 * 3, "found where told before"
    for wrong, text in (
        (["--montage", "found.txt"], "--montage found.txt: wanted a name that ends in .png"),
        (["--html", "found.png"], "--html found.png: wanted a name that ends in .html"),
        (["--root", "gone"], "--root gone is not there; the folder of the pictures is wanted"),
        (["--crop", "1,2"], "--crop 1,2: wanted x,y,width,height in pixels"),
        (["--threshold", "7"], "--threshold 7: wanted auto, or a similarity from -1 to 1"),
    ):
        refused = CliRunner().invoke(app, [*asked, *wrong])
        assert isinstance(refused.exception, BadInput) and text in str(refused.exception)


def test_a_network_that_serves_is_folded_and_gives_what_the_plain_one_gives(photographed):
    run, folder = photographed
    pictures = [read_image(path) for path in sorted((folder / "gallery").iterdir())]
    kinds = {}
    for use in ("once", "served"):
        network = open_network(
            run, None, config=ExtractConfig(), device=torch.device("cpu"), use=use
        )
        kinds[use] = network.embed, embed_images(network, pictures), network.precision
    np.testing.assert_allclose(kinds["served"][1], kinds["once"][1], atol=1e-5)
    assert kinds["served"][2] == "off" and kinds["served"][0].folded
