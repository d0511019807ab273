"""clusters.html in a browser: pictures are selected, moved, split, downloaded and read back."""

import csv
import json
import re

import numpy as np
import pytest
from helpers.chromium import launched, playwright
from helpers.commands import nformer
from helpers.gallery_runs import people
from helpers.layouts import write_image

from pipelines.artifacts.cluster_files import Members, read_edited
from pipelines.reporting import clusters_page

HOSTILE = {1: "<img src=x onerror=document.title=1>.png", 2: 'b, "q".png', 7: "</script>&amp;.png"}
NAMES = [HOSTILE.get(row, f"{row:02d}.png") for row in range(24)]


@pytest.fixture(scope="module")
def chromium():
    with launched() as browser:
        yield browser


@pytest.fixture
def opened(chromium):
    """Open a file as a page; the page's complaints and requests to others fail the test."""
    contexts, wrong = [], []

    def open_page(path, **settings):
        context = chromium.new_context(accept_downloads=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda one: wrong.append(one.text))
        page.on(
            "request", lambda one: wrong.append(one.url) if one.url.startswith("http") else None
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def folder(tmp_path):
    """Four people of six rows, well apart, clustered: identities 0 to 3, rows in their order."""
    for row, name in enumerate(NAMES):
        if "/" not in name:
            write_image(tmp_path / "images" / name, 9 * row, (20, 40))
    features = people(500, 4, 6, 3, "gallery")["gallery_features"]
    np.savez(tmp_path / "e.npz", features=features, names=np.array(NAMES))
    done = nformer(f"cluster {tmp_path / 'e.npz'} --root {tmp_path / 'images'} --json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["identities"] == 4
    return tmp_path


def box(page, row):
    return page.locator(f'[data-row="{row}"] [role=checkbox]')


def checked(page):
    found = page.locator("[data-row]:has([aria-checked=true])")
    return sorted(int(one.get_attribute("data-row")) for one in found.all())


def shown(page, name):
    """The rows that an identity's list shows."""
    found = page.locator(f'ol[aria-label="Identity {name}"] [data-row]')
    return sorted(int(one.get_attribute("data-row")) for one in found.all())


def says(page, text):
    playwright.expect(page.get_by_role("status")).to_have_text(text)


def downloaded(page, path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Download clusters.csv").click()
    assert download.value.suggested_filename == "clusters.csv"
    download.value.save_as(path)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_whole_use(opened, folder):
    page = opened(folder / "clusters.html")
    assert page.title() == "4 identities: nformer clusters"  # no name of a picture ran
    # Two are selected by the keyboard, one by the mouse, and moved to a person with a name.
    box(page, 0).focus()
    page.keyboard.press("Space")
    box(page, 1).focus()
    page.keyboard.press("Enter")
    box(page, 6).click()
    assert checked(page) == [0, 1, 6]
    playwright.expect(page.locator("#chosen")).to_have_text("3 selected")
    box(page, 6).focus()
    page.keyboard.press("m")
    page.keyboard.type('Anna "A", 1st')
    page.keyboard.press("Enter")
    says(page, '3 pictures moved to identity Anna "A", 1st, a new one.')
    assert checked(page) == []
    count = len(set(page.evaluate("now")))
    playwright.expect(page.locator("h1")).to_contain_text(f"{count} identities among")
    assert count == 5
    heading = page.get_by_role("heading", name='Identity Anna "A", 1st: 3 pictures')
    playwright.expect(heading).to_be_visible()
    assert page.evaluate("document.activeElement.getAttribute('role')") == "checkbox"
    # A range is split off, and this is undone.
    order = [int(one.get_attribute("data-row"))
             for one in page.locator('ol[aria-label="Identity 2"] [data-row]').all()]  # fmt: skip
    box(page, order[1]).click()
    box(page, order[3]).click(modifiers=["Shift"])
    assert checked(page) == sorted(order[1:4])
    page.get_by_role("button", name="New identity").click()
    says(page, "3 pictures moved to identity 4, a new one.")
    assert shown(page, "4") == sorted(order[1:4])
    page.get_by_role("button", name="Undo").click()
    says(page, "Undone; 1 more to undo.")
    assert shown(page, "2") == [12, 13, 14, 15, 16, 17] and shown(page, "4") == []
    # A whole identity goes where a heading's button says; another one is confirmed.
    page.get_by_role("button", name="Select all: identity 1").click()
    page.get_by_role("button", name="Move selected here: identity 3").click()
    says(page, "5 pictures moved to identity 3.")
    playwright.expect(page.get_by_role("heading", name="Identity 1:")).to_have_count(0)
    page.get_by_role("button", name="Confirm: identity 2").click()
    playwright.expect(page.get_by_role("heading", name="Identity 2:")).to_contain_text("confirmed")
    # Who leaves is warned, until the table is downloaded.
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.evaluate("location.reload()")
    playwright.expect(heading).to_be_visible()
    assert asked == ["beforeunload"]
    table = downloaded(page, folder / "down.csv")
    page.reload()
    assert asked == ["beforeunload"] and shown(page, "0") == [0, 1, 2, 3, 4, 5]
    # The table says it, and nformer cluster holds to it.
    assert [one["name"] for one in table] == NAMES and [one["row"] for one in table][23] == "23"
    assert [one["cluster"] for one in table] == [str(row // 6) for row in range(24)]
    done = nformer(f"cluster {folder / 'e.npz'} --edited {folder / 'down.csv'} --json")
    assert done.code == 0, done.err
    with (folder / "clusters.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    groups = {}
    for line in lines:
        groups.setdefault(line["identity"], set()).add(int(line["row"]))
    assert groups['Anna "A", 1st'] == {0, 1, 6}
    assert sorted(map(sorted, groups.values())) == [
        [0, 1, 6], [2, 3, 4, 5], [7, 8, 9, 10, 11, *range(18, 24)], [*range(12, 18)],
    ]  # fmt: skip
    assert all(line["confirmed"] == "yes" for line in lines)
    again = opened(folder / "clusters.html")
    assert shown(again, 'Anna \\"A\\", 1st') == [0, 1, 6]


def test_all_that_was_done_can_be_undone_and_the_page_is_as_it_was(opened, folder):
    page = opened(folder / "clusters.html")
    before = page.locator("#groups").inner_text()
    page.get_by_role("button", name="Merge into nearest: identity 0").click()
    page.get_by_role("button", name="Confirm: identity 2").click()
    box(page, 20).click()
    page.keyboard.press("n")
    page.keyboard.press("n")
    says(page, "Nothing to move: select pictures that are elsewhere.")
    for _ in range(3):
        page.keyboard.press("Control+z")
    says(page, "Everything is as it was.")
    assert page.locator("#groups").inner_text() == before
    table = downloaded(page, folder / "down.csv")
    assert all(one["identity"] == one["cluster"] and not one["confirmed"] for one in table)


def test_a_person_seen_once_joins_another_and_comes_back(opened, tmp_path):
    page = opened(written(tmp_path, [0, 0, 1, 2]))
    box(page, 2).click()
    box(page, 3).click()
    page.get_by_label("to identity").fill("2")
    page.get_by_role("button", name="Move", exact=True).click()
    says(page, "1 picture moved to identity 2.")
    assert shown(page, "2") == [2, 3]
    page.get_by_role("button", name="Undo").click()
    assert page.locator("#alone [data-row]").count() == 2
    playwright.expect(page.get_by_role("heading", name="Identity 2:")).to_have_count(0)


def test_rows_without_a_picture_go_with_their_identity(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(clusters_page, "EACH", 4)
    monkeypatch.setattr(clusters_page, "PICTURES", 320)
    identity = [*np.repeat(np.arange(6), 9), 6]
    page = opened(written(tmp_path, identity))
    articles = page.locator("article:visible")
    assert articles.count() == 4 and "2 more identities" in page.inner_text("main")
    names = [one.inner_text() for one in page.locator("article:visible .who").all()]
    page.get_by_role("button", name=f"Select all: identity {names[0]}", exact=True).click()
    playwright.expect(page.locator("#chosen")).to_have_text(re.compile("9 selected, [45] of them"))
    page.get_by_label("to identity").fill("5")  # which the page does not show
    page.get_by_role("button", name="Move", exact=True).click()
    playwright.expect(page.get_by_role("heading", name="Identity 5: 18 pictures")).to_be_visible()
    table = downloaded(page, tmp_path / "down.csv")
    assert len(table) == 55
    found = read_edited(tmp_path / "down.csv", [f"{row}.png" for row in range(55)])
    assert found.confirmed.sum() == 18
    assert [one["identity"] for one in table].count("5") == 18


def written(folder, identity):
    """Write a page of rows whose pictures are not at hand."""
    identity = np.array(identity)
    first = np.zeros(len(identity), bool)
    first[np.unique(identity, return_index=True)[1]] = True
    found = Members(
        [f"{row}.png" for row in range(len(identity))],
        identity,
        np.linspace(0.1, 1, len(identity)).astype(np.float32),
        (identity + 1) % (identity.max() + 1),
        np.full(len(identity), 0.5, np.float32),
        first,
        np.zeros(len(identity), bool),
    )
    clusters_page.write_clusters_page(
        folder / "a.html",
        found,
        folders=[""],
        lines=[],
        csv="clusters.csv",
        command="nformer x --edited clusters.csv",
    )
    return folder / "a.html"


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (390, "light"), (390, "dark"), (1280, "dark")]
)
def test_it_fits_and_has_a_name_for_everything(opened, folder, width, scheme):
    page = opened(
        folder / "clusters.html", viewport={"width": width, "height": 844}, color_scheme=scheme
    )
    box(page, 0).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#edit").bounding_box()["height"] < 844 / 4
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, a, img, [role=checkbox]')]
        .filter(one => one.offsetParent && !(one.getAttribute('aria-label') || one.alt
            || one.innerText || (one.labels && one.labels.length))).map(one => one.outerHTML)"""
    )
    assert unnamed == []
    name = page.get_by_role("checkbox", name='row 2, b, "q".png')
    playwright.expect(name).to_be_visible()


def test_without_a_script_it_is_a_page_to_read(opened, folder):
    page = opened(folder / "clusters.html", java_script_enabled=False)
    assert page.locator("article:visible").count() == 4
    assert page.locator("button:visible, input:visible").count() == 0
    assert page.get_by_role("checkbox").count() == 0
