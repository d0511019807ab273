"""The page in a browser: searched with, cropped, clicked, filtered, marked and changed."""

import csv
import re
import threading
import time

import pytest
import uvicorn
from helpers.chromium import launched, playwright
from helpers.gallery_runs import GALLERY, run_with
from helpers.serving import picture, pictures_run

from pipelines.serving.app import create_app
from pipelines.serving.settings import ServeSettings
from pipelines.stages.index import index_gallery
from pipelines.stages.serve import service_of

HANDED = """([kind, bytes]) => {
    const file = new File([new Uint8Array(bytes)], "handed.png", { type: "image/png" });
    const data = new DataTransfer();
    data.items.add(file);
    const more = { bubbles: true, cancelable: true };
    document.dispatchEvent(kind === "paste"
        ? new ClipboardEvent(kind, { clipboardData: data, ...more })
        : new DragEvent(kind, { dataTransfer: data, ...more }));
}"""


class Listening:
    """`with Listening(run) as place`: a server of the run at a port of its own."""

    def __init__(self, run, **settings) -> None:
        own = ServeSettings(port=0, **settings)
        self.socket = own.listening()
        config = uvicorn.Config(create_app(service_of(run, settings=own)), log_level="error")
        self.server = uvicorn.Server(config)
        self.server.install_signal_handlers = lambda: None
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True
        )

    def __enter__(self) -> str:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def chromium():
    with launched() as browser:
        yield browser


@pytest.fixture
def page(chromium):
    """A page whose complaints fail the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    found, complaints, asked = context.new_page(), [], []
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
    found.on("request", lambda one: asked.append(one.url))
    yield found
    context.close()
    assert not complaints
    assert all(re.match(r"(http://127\.0\.0\.1:|blob:)", one) for one in asked), "another site"


def names(page) -> list[str]:
    """The file names of the items found."""
    return page.locator("#hits .file").all_inner_texts()


def status(page, text: str) -> None:
    playwright.expect(page.get_by_role("status")).to_have_text(re.compile(text), timeout=20_000)


def test_the_whole_use(page, tmp_path):
    run = pictures_run(tmp_path)
    with Listening(run, allow_edit=True) as place:
        page.goto(place)
        status(page, "Choose a picture, or one of these items: 8 of 8")
        # A picture is chosen, and searched with.
        picture(3).save(tmp_path / "me.png")
        page.get_by_label("Choose a picture").set_input_files(tmp_path / "me.png")
        status(page, "8 of 8 items, in ")
        assert names(page)[0] == "3.png"
        first = page.get_by_role("button", name="Rank 1, id unknown: search with it")
        playwright.expect(first).to_be_visible()
        # Nothing is refined here: one similarity is shown, and named so.
        shown = page.locator("#hits dl").first.locator("div:visible").all_inner_texts()
        assert [one.split() for one in shown] == [["similarity", "1.000"]]
        # A part is drawn on it with the mouse, and the fields say which.
        page.wait_for_function("document.getElementById('picture').clientHeight > 300")
        box = page.locator("#frame").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"], steps=4)
        with page.expect_response(re.compile(r"/search\?.*crop=")) as sent:
            page.mouse.up()
        crop = [int(page.get_by_label(one, exact=True).input_value()) for one in
                ("left", "top", "width", "height")]  # fmt: skip
        assert f"crop={','.join(map(str, crop))}" in sent.value.url
        assert crop == pytest.approx([10, 20, 20, 60], abs=1)
        with page.expect_response(lambda one: "/search?" in one.url and "crop" not in one.url):
            page.get_by_role("button", name="Whole picture").click()
        # The threshold says whether somebody is here.
        slider = page.get_by_role("slider", name=re.compile("Nobody below"))
        verdict = page.locator("#verdict")
        slider.fill("0.9")
        playwright.expect(verdict).to_have_text("Somebody is here: similarity 1.000 ≥ 0.900")
        # Another picture is pasted: a stranger.
        picture(60).save(tmp_path / "stranger.png")
        slider.fill("1")
        page.evaluate(HANDED, ["paste", list((tmp_path / "stranger.png").read_bytes())])
        playwright.expect(page.locator("#name")).to_have_text("handed.png")
        playwright.expect(verdict).to_have_text(re.compile("Nobody here: similarity .* < 1.000"))
        # One is dropped, too large for the server: it is not sent.
        page.evaluate(HANDED, ["drop", 17_000_000])
        status(page, r"handed.png has 17.0 MB; 16 MB are taken")
        page.evaluate(HANDED, ["drop", list((tmp_path / "me.png").read_bytes())])
        playwright.expect(page.locator("#hits .file").first).to_have_text("3.png")
        status(page, "8 of 8 items, in ")
        # One that was found is clicked, and searched with.
        chosen = names(page)[2]
        page.locator("#hits .again").nth(2).click()
        playwright.expect(page.locator("#name")).to_have_text(chosen)
        status(page, "8 of 8 items, in ")
        playwright.expect(page.locator("#hits .file").first).to_have_text(chosen)
        # Marks, by mouse and by key, go into a table.
        page.get_by_role("button", name="Rank 1 is right").click()
        page.locator("#hits .again").nth(1).focus()
        page.keyboard.press("w")
        playwright.expect(page.locator("#marks")).to_have_text("1 right, 1 wrong.")
        pressed = page.get_by_role("button", name="Rank 2 is wrong")
        playwright.expect(pressed).to_have_attribute("aria-pressed", "true")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export marks (CSV)").click()
        with open(download.value.path(), newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(one["query"], one["rank"], one["mark"]) for one in rows] == [
            (chosen, "1", "right"),
            (chosen, "2", "wrong"),
        ]
        assert rows[0]["name"] == chosen
        # A picture is added, and removed.
        page.get_by_label("Choose a picture").set_input_files(tmp_path / "stranger.png")
        playwright.expect(page.locator("#name")).to_have_text("stranger.png")
        page.get_by_label("identity").fill("12")
        page.get_by_role("button", name="Add this picture").click()
        status(page, "Done: the index has 9 items now")
        playwright.expect(page.locator("#hits .who").first).to_contain_text("1. id 12")
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Remove Rank 1, id 12 from the index").click()
        status(page, "Done: the index has 8 items now")


def test_what_is_no_picture_takes_the_earlier_answer_away(chromium, tmp_path):
    run = pictures_run(tmp_path)
    picture(3).save(tmp_path / "me.png")
    (tmp_path / "list.csv").write_text("file;person")
    with Listening(run) as place:
        page = chromium.new_page()  # whose console tells of the refusal
        page.goto(place)
        status(page, "Choose a picture")
        page.get_by_label("Choose a picture").set_input_files(tmp_path / "me.png")
        playwright.expect(page.locator("#verdict")).to_have_text(
            "The nearest: similarity 1.000. No threshold was calibrated, so whether this is the "
            "person is for you to judge."
        )
        page.get_by_label("Choose a picture").set_input_files(tmp_path / "list.csv")
        status(page, "what was sent is no picture of a known kind")
        playwright.expect(page.locator("#verdict")).to_be_hidden()
        assert page.locator("#hits li").count() == 0
        page.get_by_label("Choose a picture").set_input_files(tmp_path / "me.png")
        status(page, "8 of 8 items, in ")
        page.close()


def test_a_refined_answer_shows_who_was_listened_to_and_filters_by_camera(page, tmp_path):
    run = run_with(tmp_path, GALLERY)
    index_gallery(run)
    with Listening(run) as place:
        page.goto(place)
        status(page, "Choose a picture, or one of these items: 12 of 120")
        assert page.get_by_label("Choose a picture").is_disabled()
        page.get_by_role("button", name="Item 7, id 501, camera 1: search with it").click()
        status(page, "20 of 120 items")
        listened = page.get_by_role("list", name=re.compile("Neighbours that refined"))
        playwright.expect(listened.get_by_role("listitem").first).to_contain_text(" %")
        playwright.expect(page.locator("#own")).to_contain_text("of its attention for itself")
        playwright.expect(page.locator("#reach")).to_contain_text("of strangers and")
        page.get_by_label("3 (20)").check()
        status(page, "20 of 120 items")
        only = page.locator("#hits .who")
        playwright.expect(only.first).to_contain_text("camera 3")
        assert all("camera 3" in text for text in only.all_inner_texts())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with Listening(
        pictures_run(tmp_path_factory.mktemp("page"), count=3), allow_edit=True
    ) as found:
        yield found


SIZES = [(1280, 900, "light"), (390, 844, "light"), (390, 844, "dark")]


@pytest.mark.parametrize(("width", "height", "scheme"), SIZES)
def test_it_fits_is_readable_and_has_a_name_for_everything(
    chromium, place, width, height, scheme, tmp_path
):
    size = {"width": width, "height": height}
    context = chromium.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.goto(place)
    picture(1).save(tmp_path / "me.png")
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "me.png")
    status(page, "3 of 3 items, in ")
    page.evaluate("document.getElementById('more').open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, a, img, summary')]
        .filter(one => one.offsetParent && !(one.getAttribute('aria-label') || one.alt
            || one.innerText || (one.labels && one.labels.length))).map(one => one.outerHTML)"""
    )
    assert unnamed == []
    colours = page.evaluate(
        """['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"""
    )
    ink, paper = (sum(map(int, re.findall(r"\d+", one)[:3])) for one in colours)
    assert (ink > paper) == (scheme == "dark")
    assert abs(ink - paper) > 500
    seen = set()
    for _ in range(60):  # every control is reached with the Tab key
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"file", "x", "whole", "search", "threshold", "again", "right", "remove"} <= seen
    context.close()
