"""The report: one page, the same numbers everywhere, lists in the metrics' order."""

import csv
import json
import re
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.people import scattered
from PIL import Image
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Embeddings, MissingArtifact, Run, evaluate, save_embeddings, train_nformer
from pipelines.artifacts.embeddings import load_embeddings
from pipelines.artifacts.graph import graphs_of
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.ranking import load_ranking
from pipelines.artifacts.results import Evaluation, ResultRow
from pipelines.config import EvaluateConfig, NFormerConfig
from pipelines.gallery import graph as gallery_graph
from pipelines.labels import LabelNames
from pipelines.reporting import charts as report_charts
from pipelines.reporting import ranked_lists as report_examples
from pipelines.reporting.page import render
from pipelines.stages.info import is_older
from pipelines.stages.report import PAGE, build_report, report, to_csv, to_json

COLUMNS = ("mAP", "mINP", "rank1", "rank5", "rank10")
NASTY = 'query/<script>alert("1")</script> & co.jpg'


def people(identities: range, cameras: int, each: int, split: str, seed: int) -> Embeddings:
    random = np.random.default_rng(seed)
    pids = np.repeat(np.array(identities), cameras * each)
    camids = np.tile(np.repeat(np.arange(1, cameras + 1), each), len(identities))
    features = scattered(pids, width=16, noise=0.9, random=random, centres=1)
    names = [f"{split}/{pids[row]}_c{camids[row]}_{row}.jpg" for row in range(len(pids))]
    return Embeddings(features, pids, camids, names)


def make_run(folder: Path, root: Path | None) -> Run:
    run = Run(folder)
    query = people(range(40, 52), 3, 1, "query", 5)
    names = [NASTY, *query.names[1:]]
    query = Embeddings(query.features, query.pids, query.camids, names)
    facts = {"dataset": "toy", "root": str(root)} if root else {"dataset": "toy"}
    with run.writing(Manifest("embeddings.h5", "extract", {}, {}, facts=facts)) as (path, _):
        save_embeddings(
            path,
            train=people(range(12), 3, 3, "train", 3),
            query=query,
            gallery=people(range(40, 52), 3, 3, "gallery", 4),
            dataset="toy",
        )
    train_nformer(run, config=NFormerConfig(closed_form=False, neighbours=6, steps=4, eval_every=4))
    evaluate(run, config=EvaluateConfig(rerank=("kr",), k1=6, k2=2))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("report")
    root = folder / "images"
    (root / "gallery").mkdir(parents=True)
    for name in people(range(40, 52), 3, 3, "gallery", 4).names:
        Image.new("RGB", (20, 40), (200, 30, 30)).save(root / name)
    return make_run(folder / "run", root)


@cache
def page_of(folder: Path) -> str:
    return report(Run(folder), examples=3).read_text(encoding="utf-8")


class Page(HTMLParser):
    """Collects what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else(run):
    text = page_of(run.folder)
    page = Page(text)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for tag in ("img", "a", "use", "image"):
        for attributes in page.all(tag):
            target = attributes.get("src") or attributes.get("href") or attributes["xlink:href"]
            assert target.startswith(("#", "data:image/")), target
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert "default-src 'none'" in text
    assert len(text) < 15 * 2**20


def test_every_picture_has_words_and_every_link_a_target(run):
    page = Page(page_of(run.folder))
    pictures = page.all("img")
    assert len(pictures) > 20
    assert all(attributes.get("alt") for attributes in pictures)
    charts = [a for a in page.all("div") if a.get("role") == "img"]
    assert len(charts) >= 6 and all(len(a["aria-label"]) > 20 for a in charts)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)


def test_names_are_escaped(run):
    text = render(build_report(run, examples=50))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_the_numbers_are_the_same_everywhere(run):
    result = evaluate(run, config=EvaluateConfig(rerank=("kr",), k1=6, k2=2))
    page = page_of(run.folder)
    rows = list(csv.DictReader((run.folder / "report.csv").read_text().splitlines()))
    told = json.loads(to_json(build_report(run, examples=1)))
    shown = CliRunner().invoke(
        app, ["evaluate", "--run", str(run.folder), "--rerank", "kr", "--k1", "6", "--k2", "2"]
    )
    assert shown.exit_code == 0
    assert [row["name"] for row in rows] == [row.name for row in result.results]
    for row, line, entry in zip(result.results, rows, told["results"], strict=True):
        cells = re.search(rf'<th scope="row">{re.escape(row.label)} <span(.*?)</tr>', page)[1]
        terminal = next(text for text in shown.stdout.splitlines() if f" {row.label} " in text)
        for column in COLUMNS:
            value = getattr(row, column)
            assert float(line[column]) == value == entry[column]
            assert f">{100 * value:.1f}</td>" in cells
            assert f"{100 * value:.1f}" in terminal


def test_lists_stand_in_the_order_of_the_metrics(run):
    found = build_report(run, examples=2)
    ranking = load_ranking(run.path("ranking.h5"), "nformer")
    names = people(range(40, 52), 3, 3, "gallery", 4).names
    assert found.examples
    for example in found.examples:
        items = [item for item in example.lists["nformer"] if item.rank is not None]
        row = int(example.anchor[1:])
        assert [item.name for item in items] == [names[i] for i in ranking.index[row, :10]]
        assert [item.rank for item in items] == list(range(1, len(items) + 1))
        nearness = [item.nearness for item in example.lists["nformer"]]
        assert nearness == sorted(nearness, reverse=True)
        assert all(item.right == (item.pid == example.pid) for item in items)


def test_items_of_the_querys_own_camera_are_shown_as_skipped(run):
    found = build_report(run, examples=4)
    skipped = [
        (example, item)
        for example in found.examples
        for items in example.lists.values()
        for item in items
        if item.rank is None
    ]
    assert skipped
    assert all((e.pid, e.camid) == (item.pid, item.camid) for e, item in skipped)


def test_what_nformer_listened_to_adds_up_to_one(run):
    for example in build_report(run, examples=3).examples:
        assert len(example.own) == 4  # layers
        for layer in range(4):
            shares = example.own[layer] + sum(item.shares[layer] for item in example.read)
            assert 0 < shares <= 1 + 1e-5
        assert len({item.name for item in example.read}) == len(example.read)


def test_the_page_reads_the_neighbour_graph(run, monkeypatch):
    graph = graphs_of(run)["gallery"]
    gallery = load_embeddings(run.artifact("embeddings.h5"), "gallery")
    first = gallery.pids[graph.index[:, 1:6]] == gallery.pids[:, None]
    found = build_report(run, examples=1)
    (chart,) = [chart for chart in found.charts if chart.title == "Neighbours before refinement"]
    share = (gallery.pids[graph.index[:, 1:21]] == gallery.pids[:, None]).mean()
    assert f"Of the 20 nearest of an image in the gallery {100 * share:.0f} % show" in chart.text
    assert first.mean() > share  # the nearest are the purest: the set is not a trivial one

    def forbidden(*arguments, **settings):
        raise AssertionError("searched again what graph.h5 holds")

    monkeypatch.setattr(gallery_graph, "nearest_neighbours", forbidden)
    assert build_report(run, examples=1).examples == found.examples  # attention told from the file


def test_without_a_neighbour_graph_the_page_does_without(run, monkeypatch):
    monkeypatch.setattr(report_charts, "graphs_of", lambda run: {})
    titles = [chart.title for chart in build_report(run, examples=1).charts]
    assert titles and "Neighbours before refinement" not in titles


def test_a_large_gallery_is_not_refined_again_and_the_page_says_so(run, monkeypatch):
    monkeypatch.setattr(report_examples, "LARGE", 50)
    found = build_report(run, examples=1)
    assert not any(example.own for example in found.examples)
    assert any("left out: the gallery has 108 items, and above 50" in note for note in found.notes)
    assert "s attention is left out: the gallery" in render(found)


def test_the_scatter_links_the_largest_gains_and_losses(run):
    found = build_report(run, examples=2)
    (chart,) = [chart for chart in found.charts if chart.links]
    assert chart.title.startswith("Average precision of each query")
    told = {anchor for _, anchor in chart.links}
    assert told == {e.anchor for e in found.examples if e.kind in ("gain", "loss")}
    assert all(f'<a href="#{anchor}">' in render(found) for anchor in told)
    names = {e.anchor: e.name for e in found.examples}  # "query/40_c1_0.jpg"
    assert all(name.endswith(f": {names[anchor]}") for name, anchor in chart.links)


def test_json_has_all_that_the_page_has_but_pictures(run):
    found = build_report(run, examples=2)
    told = json.loads(to_json(found))
    for example, entry in zip(found.examples, told["examples"], strict=True):
        items = entry["items"]["nformer"]
        assert [item["name"] for item in items] == [i.name for i in example.lists["nformer"]]
        assert [item["rank"] for item in items] == [i.rank for i in example.lists["nformer"]]
        assert len(entry["attention_itself"]) == 4 and "picture" not in items[0]
    assert [link["name"] for link in told["manifests"]] == list(told["artifacts"])
    assert told["notes"] == [*found.evaluation.notes, *found.notes]


def test_gains_and_losses_are_what_they_say(run):
    found = build_report(run, examples=50)
    for example in found.of_kind("gain"):
        assert example.precision["nformer"] > example.precision["baseline"]
    for example in found.of_kind("loss"):
        assert example.precision["nformer"] < example.precision["baseline"]
    assert len(found.examples) == len({example.anchor for example in found.examples}) == 36


def test_without_an_nformer_the_best_row_that_mixes_no_queries_stands_beside_the_baseline(
    run, tmp_path
):
    shutil.copytree(run.folder, tmp_path / "run")
    copy = Run(tmp_path / "run")
    copy.path("nformer.pt").unlink()
    evaluation = evaluate(copy, config=EvaluateConfig(every=True, refine=("none",), k1=6, k2=2))
    isolated = {
        row.name: row.mAP
        for row in evaluation.results
        if row.protocol == "isolated" and row.name != "baseline"
    }
    best = max(isolated, key=lambda name: isolated[name])
    assert best != list(isolated)[-1] and len(isolated) > 3
    found = build_report(copy, examples=1)
    assert found.compared == best
    note = f"Shown beside the baseline is {best}: of the rows that mix no queries"
    assert any(text.startswith(note) for text in found.notes)


def test_the_row_beside_the_baseline():
    def chosen(**rows: tuple[float, str]) -> tuple[str, str]:
        common = {"mINP": 0.0, "rank1": 0.0, "rank5": 0.0, "rank10": 0.0, "seconds": 0.0}
        results = tuple(
            ResultRow(name=name, mAP=value, protocol=protocol, **common)
            for name, (value, protocol) in rows.items()
        )
        counts = {"queries": 1, "valid_queries": 1, "gallery": 1, "peak_rss_mib": 0.0, "seed": 0}
        told = Evaluation(dataset="", protocol="isolated", results=results, **counts)
        return report_examples.compared_in(told), report_examples.how_compared(told)[:34]

    said = "Shown beside the baseline is gcr: "
    baseline, gcr, nfc = (0.5, "isolated"), (0.7, "isolated"), (0.6, "isolated")
    assert chosen(baseline=baseline) == ("", "")
    assert chosen(baseline=baseline, nfc=nfc) == ("nfc", "")
    assert chosen(baseline=baseline, gcr=gcr, nfc=nfc, kr=(0.9, "joint")) == ("gcr", said)
    assert chosen(baseline=baseline, gcr=gcr, nformer=nfc) == ("nformer", "")
    assert chosen(baseline=baseline, kr=(0.9, "joint"), gnn=(0.8, "joint"))[0] == "kr"


def test_a_closed_form_is_not_called_nformer(run, monkeypatch):
    renamed = property(lambda row: row.name.replace("nformer", "closed form, gate"))
    monkeypatch.setattr(ResultRow, "label", renamed)
    found = build_report(run, examples=1)
    told = {chart.title: chart.text for chart in found.charts}
    assert "closed form, gate" in told["Cumulative matching characteristic"]
    assert "closed form, gate" in told["Similarities of pairs"]
    assert "Average precision of each query, baseline and closed form, gate" in told
    page = render(found)
    assert "<h4>closed form, gate: AP" in page and "<h4>nformer: AP" not in page
    assert "<summary>What closed form, gate reads: itself" in page and "sum 1</th>" in page
    assert "NFormer's attention" not in page


def test_names_stand_in_for_images_that_are_not_there(tmp_path):
    text = report(make_run(tmp_path / "run", None), examples=2).read_text(encoding="utf-8")
    assert not Page(text).all("img")
    assert "images are not known of for these embeddings: their names are shown." in text
    assert "Beside the query: the first items" not in text


def test_it_says_what_to_run_first(tmp_path):
    with pytest.raises(MissingArtifact, match="nformer evaluate"):
        report(Run(tmp_path))


def test_the_same_run_gives_the_same_page(run):
    first = page_of(run.folder)
    assert report(run, examples=3).read_text(encoding="utf-8") == first


def test_it_knows_when_it_is_older_than_the_figures(run, tmp_path):
    report(run, examples=1)
    assert not is_older(run, PAGE)
    (run.folder / "report.html").unlink()
    assert is_older(run, PAGE)
    report(run, examples=3)


def test_the_table_as_csv_has_a_line_for_each_row(run):
    evaluation = evaluate(run, config=EvaluateConfig(rerank=("kr",), k1=6, k2=2))
    lines = to_csv(evaluation).splitlines()
    assert lines[0] == "name,mAP,mINP,rank1,rank5,rank10,seconds,protocol,rules"
    assert len(lines) == 1 + len(evaluation.results)


def test_a_failed_query_shows_its_first_match_where_it_stands_below_the_first_items(run):
    found = build_report(run, examples=1)
    ranking = load_ranking(run.path("ranking.h5"), found.compared)
    names = people(range(40, 52), 3, 3, "gallery", 4).names
    queries = load_embeddings(run.path("embeddings.h5"), "query").names
    below = [row for row in found.every if row.first and row.first > len(row.items)]
    assert below
    for row in found.every:
        match = ranking.match[queries.index(row.name)]
        assert (row.match is not None) == (row in below)
        if row.match is not None:
            assert row.match.rank == row.first == match.argmax() + 1
            index = ranking.index[queries.index(row.name), row.first - 1]
            assert row.match.name == names[index] and row.match.picture
    page, first = render(found), below[0]
    assert f"""alt="rank {first.first}, right: person {first.pid}, camera""" in page
    assert f"""<span class="mark">{first.first} ✓</span> id {first.pid}, cam""" in page
    assert f"<strong>id {first.pid}, cam {first.camid}</strong><br>query/" in page


def test_pictures_of_queries_take_no_more_room_than_there_is(run, monkeypatch):
    every = [row for row in build_report(run, examples=1).every if row.items]
    size = sum(len(item.picture) for item in (*every[0].items, every[0].match) if item)
    monkeypatch.setattr(report_examples, "ROOM", size + 1)
    found = build_report(run, examples=1)
    assert [bool(row.items) for row in found.every[:3]] == [True, True, False]
    assert "for the 2 worst queries" in render(found)


def test_people_and_cameras_are_called_by_their_names(run, tmp_path):
    copy, places = Run(tmp_path / "run"), ["hall", "entrance", "garage", "yard"]
    whole = run.path("embeddings.h5")
    splits = {name: load_embeddings(whole, name) for name in ("train", "query", "gallery")}
    labels = LabelNames([f"person-{number}" for number in range(52)], places)
    with copy.writing(Manifest("embeddings.h5", "extract", {}, {}, facts={})) as (path, _):
        save_embeddings(path, **splits, labels=labels)
    evaluate(copy, config=EvaluateConfig(refine=()))
    found = build_report(copy, examples=1)
    (chart,) = [chart for chart in found.charts if "by pair of cameras" in chart.title]
    assert re.match(r"Hardest: queries of camera (entrance|garage|yard) in the gallery", chart.text)
    assert all(f">{name}</text>" in chart.svg for name in places[1:])
    page = render(found)
    assert re.search(r"<p>Query: person-4\d, camera (entrance|garage|yard)\.</p>", page)
    assert "person person" not in page


def test_one_number_of_matches_is_no_chart(run):
    found = build_report(run, examples=1)  # of each query six items are matches
    charts = {chart.title: chart.text for chart in found.charts}
    assert "Gain by images per identity" not in charts
    gain = np.mean([row.precision["nformer"] - row.precision["baseline"] for row in found.every])
    text = charts["Average precision of each query, baseline and NFormer"]
    assert text.endswith(f"stay; the mean gain is {100 * gain:+.1f} points.")


def test_every_query_can_be_found_and_filtered_without_a_script(run):
    found = build_report(run, examples=1)
    assert len(found.every) == found.evaluation.valid_queries
    values = [row.precision[found.compared] for row in found.every]
    assert values == sorted(values)
    for row in found.every:
        assert ("failed" in row.kinds) == (row.first != 1)
    page = page_of(run.folder)
    assert 'id="only-failed"' in page and "#only-failed:checked ~ *" in page


def test_the_page_tells_how_it_was_made_and_with_which_versions(run):
    page = page_of(run.folder)
    section = re.sub("<[^>]+>", "", page[page.index('id="again"') :])
    assert "nformer evaluate" in section and f"--run {run.folder}" in section
    assert "torch " in section and "Python 3." in section


def test_the_page_has_precision_and_recall(run):
    titles = [chart.title for chart in build_report(run, examples=1).charts]
    assert "Precision and recall" in titles


def test_pictures_that_moved_are_missed_in_a_line_and_found_by_root(run, tmp_path, recorder):
    moved = tmp_path / "moved"
    shutil.copytree(run.folder, tmp_path / "run")
    copy = Run(tmp_path / "run")
    there = Path(copy.facts("embeddings.h5")["root"])
    there.rename(moved)
    try:
        without = build_report(copy, examples=1, progress=recorder)
        (said,) = recorder.warnings
        assert re.match(rf"(\d+) of \1 images are not below {there}, such as (query|gall)", said)
        assert f"nformer report --root DIR --run {copy.folder}" in said
        assert not any(item.picture for row in without.every for item in row.items)
        done = CliRunner().invoke(
            app, ["report", "--run", str(copy.folder), "--root", str(moved), "--examples", "1"]
        )
        assert done.exit_code == 0, done.output
        assert Page((copy.folder / "report.html").read_text()).all("img")
        assert "note: 36 of 1" in done.stderr  # the 36 queries had none before
        again = build_report(copy, examples=1, progress=recorder)  # as evaluate writes it
        assert any(item.picture for row in again.every for item in row.items)
        assert recorder.warnings[-1].startswith("36 of 1")
        wrong = build_report(copy, examples=1, progress=recorder, root=tmp_path)
        assert recorder.warnings[-2].startswith(f"--root {tmp_path} is neither used nor remember")
        assert any(item.picture for row in wrong.every for item in row.items)
    finally:
        moved.rename(there)
