"""The report's page in a browser, where there is one: it loads, says nothing, shows the lists."""

import re
from dataclasses import replace

import pytest
from helpers.browser import BROWSER, Browser
from PIL import Image

from pipelines.artifacts.results import Evaluation, ResultRow
from pipelines.labels import NUMBERS, LabelNames
from pipelines.reporting.charts import line_chart
from pipelines.reporting.page import (
    PICTURED,
    Chart,
    Evidence,
    Example,
    Item,
    Link,
    Report,
    Row,
    breakable,
    data_uri,
    render,
    whom,
)
from pipelines.reporting.plots import Curve, Plot, svg_of
from pipelines.reporting.tables_and_figures import Column, TableOrFigure


def row(name: str, figure: float) -> ResultRow:
    return ResultRow(
        name=name, mAP=figure, mINP=figure, rank1=figure, rank5=1.0, rank10=1.0, seconds=0.5
    )


def example(number: int) -> Example:
    picture = data_uri(Image.new("RGB", (64, 128), (10, 120, 200)))
    items = [
        Item("g/own.jpg", 7, 1, True, picture, None, 0.99),
        Item("g/right.jpg", 7, 2, True, picture, 1, 0.9),
        Item("g/wrong.jpg", 8, 2, False, picture, 2, 0.8),
    ]
    read = [Item("g/right.jpg", 7, 2, True, picture, shares=(0.25, 0.5))]
    return Example(
        anchor=f"q{number}",
        name=f"query/{number}.jpg",
        pid=7,
        camid=1,
        kind="gain",
        precision={"baseline": 0.25, "nformer": 1.0},
        lists={"baseline": items, "nformer": items[:2]},
        picture=picture,
        own=(0.75, 0.5),
        read=read,
    )


def evidence() -> Evidence:
    """Return a table wider than a phone, with a plot."""
    plot = Plot(title="mAP", x="k", y="mAP in %", curves=[Curve("<i>RNS", [1, 5], [50.0, 60.0])])
    keys = [f"column{number}" for number in range(14)]
    item = TableOrFigure(
        name="table4",
        title="Table 4: data sets and backbones",
        columns=[Column(key, f"{key} of the <b>table", "percent") for key in keys],
        rows=[dict.fromkeys(keys, 0.4375)],
        plots=[plot],
        text="mAP is 60.0 % with k = 5.",
        notes=["How it was made."],
    )
    return Evidence(item, [Chart(plot.title, svg_of("table4-0", [plot]), item.text)])


def every(number: int) -> Row:
    items = example(number).lists["baseline"][1:] * 2 if number < PICTURED else []
    return Row(
        name=f"query/a_folder-of-some-length/{number:04d}_c1s1_000001_00.jpg",
        pid=7,
        camid=1,
        precision={"baseline": 0.25, "closed form, gate, NFormer": 0.5},
        kinds=["failed"],
        first=17,
        picture=items[0].picture if items else "",
        items=items,
        match=Item("g/far.jpg", 7, 2, True, items[0].picture, 17) if items else None,
    )


def page(queries: int) -> str:
    curve = line_chart("cmc", {"baseline": ([1, 2], [0.5, 1.0])}, x="rank", y="share")
    return render(
        Report(
            evaluation=Evaluation(
                dataset="toy",
                protocol="isolated",
                seed=0,
                queries=queries,
                valid_queries=queries,
                gallery=100,
                peak_rss_mib=1.0,
                results=(row("baseline", 0.5), row("nformer", 0.625)),
            ),
            folder="runs/toy",
            charts=[Chart("Cumulative matching characteristic", curve, "At rank 1: 50.0 %.")],
            examples=[example(number) for number in range(min(queries, 18))],
            evidence=[evidence()],
            every=[every(number) for number in range(queries)],
            compared="closed form, gate, NFormer",
            chain=[
                Link("embeddings.h5", "nformer extract", "ab" * 32, {}, {"batch": 64}, "whole"),
                Link("nformer.pt", "nformer train-nformer", "cd" * 32, {}, {}, "stale"),
            ],
        )
    )


def test_right_and_wrong_are_told_by_more_than_colour():
    text = page(1)
    assert "1 ✓" in text and "2 ✗" in text and "skipped" in text
    assert 'alt="rank 2, wrong: person 8, camera 2"' in text


def test_attention_is_told_layer_by_layer():
    text = page(1)
    assert re.search(r"itself</th><td></td><td>75\.0 %</td><td>50\.0 %</td>", text)
    assert "<summary>NFormer&#39;s attention: itself 62.5 %, then 1 item</summary>" in text
    assert re.search(r"✓ same person.*?<td>25\.0 %</td><td>50\.0 %</td>", text, re.DOTALL)


def test_evidence_has_its_table_its_words_and_no_markup_of_its_own():
    text = page(1)
    assert '<th scope="row">43.8</th>' in text
    assert 'aria-label="mAP. mAP is 60.0 % with k = 5."' in text
    assert "column13 of the &lt;b&gt;table" in text and "<b>" not in text and "<i>" not in text


def test_the_best_of_each_column_is_marked():
    assert '<td class="best">62.5</td>' in page(1)
    assert '<td class="best">50.0</td>' not in page(1)


def test_charts_take_the_pages_ink_and_have_ids_of_their_own():
    svg = line_chart("a", {"one": ([1, 2], [3, 4])}, x="x", y="y")
    assert "currentColor" in svg and "#010203" not in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert ids and all(name.startswith("a-") for name in ids)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert used <= set(ids)
    assert svg == line_chart("a", {"one": ([1, 2], [3, 4])}, x="x", y="y")


def test_fractions_are_charted_in_per_cent_up_to_100():
    svg = line_chart("a", {"one": ([1, 2], [0.5, 1.0])}, x="rank", y="found", percent=True)
    words = re.findall(r"<text[^>]*>([^<]*)<", svg)
    assert "found in %" in words and words[words.index("50") :][:6] == [
        *("50", "60", "70", "80", "90", "100")
    ]


def test_identities_are_called_by_name_or_number_and_unknown_cameras_not_at_all():
    item = Item("a.jpg", 1, 0, True)
    assert whom(NUMBERS, item) == "person 1, camera 0"
    assert whom(NUMBERS, item, short=True) == "id 1, cam 0"
    named = LabelNames(["Ada", "Ben"], ["hall"])
    assert whom(named, item) == "Ben, camera hall"
    assert whom(named, replace(item, camid=-1), short=True) == "Ben"


def test_names_may_break_behind_their_marks_alone():
    assert breakable("query/<b>_c1-0.jpg") == "query/<wbr>&lt;b&gt;_<wbr>c1-<wbr>0.jpg"


def test_what_is_as_it_was_made_has_no_state_and_what_is_not_has_one():
    text = page(1)
    assert "<code>embeddings.h5</code>, by nformer extract" in text
    assert "<code>nformer.pt</code> (stale), by nformer train-nformer" in text


@pytest.mark.slow
@pytest.mark.parametrize("queries", [60, 3368])
def test_a_browser_shows_it_on_a_phone_and_a_desk_without_complaint(tmp_path, queries):
    if not BROWSER:
        pytest.skip("no Chromium on this machine")
    file = tmp_path / "report.html"
    file.write_text(page(queries), encoding="utf-8")
    with Browser(tmp_path) as browser:
        for width in (390, 1280):
            browser.open(file.as_uri(), width=width, height=900)
            assert browser.complaints == []
            assert browser.ask("document.querySelectorAll('ol.items').length") == 2 * 18
            assert browser.ask("document.querySelectorAll('svg').length") == 2
            assert browser.ask(SHOWN_WITHOUT_WORDS) == 0
            assert browser.ask(SIDEWAYS) <= 0
            assert browser.ask(EMPTY) == 0
            phone = width == 390
            assert browser.ask(CUT_OFF) == 0  # no picture of a query's row lies outside
            assert browser.ask("getComputedStyle(document.querySelector('.hint')).display") == (
                "block" if phone else "none"
            )
            assert browser.ask(ROWS) == ("flex" if phone else "table-row")
            seen = browser.press_tab(40, FOCUSED)
            assert seen[0] == ("A", "#results", True)  # the way past the header
            assert {tag for tag, _, _ in seen} >= {"A", "OL", "DIV", "SUMMARY"}
            assert all(visible for _, _, visible in seen), seen
            browser.ask("location.hash = 'evidence'")
            seen = browser.press_tab(2, FOCUSED)  # the table, which scrolls, and how it was made
            assert [(tag, visible) for tag, _, visible in seen] == [
                ("DIV", True),
                ("SUMMARY", True),
            ]


SHOWN_WITHOUT_WORDS = """
[...document.querySelectorAll('img, [role=img]')]
    .filter(one => !(one.alt || one.getAttribute('aria-label'))).length
"""
ROWS = "getComputedStyle(document.querySelector('.every tr.failed')).display"
EMPTY = """
[...document.querySelectorAll('img')].filter(one => !one.complete || !one.naturalWidth).length
"""
CUT_OFF = """
[...document.querySelectorAll('.every img')]
    .filter(one => one.getBoundingClientRect().right > window.innerWidth).length
"""
SIDEWAYS = "document.documentElement.scrollWidth - window.innerWidth"
FOCUSED = """
(() => {
    const one = document.activeElement, style = getComputedStyle(one);
    const box = one.getBoundingClientRect();
    const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    return [one.tagName, one.getAttribute('href') || '', ring && box.width > 0 && box.left > -50];
})()
"""
