"""nformer manual: the list, a page in a pipe and on a terminal, and a topic that is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from nformer_cli.app import app
from nformer_cli.commands import manual
from pipelines.errors import BadInput

ROOT = Path(__file__).parents[2]
PAGES = sorted(manual.PAGES.glob("*.md"))


def shown(page: str, width: int = 80) -> str:
    """Return a page as a terminal of so many columns shows it, without colours."""
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(manual.laid_out(page))
    return capture.get()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nformer_cli.main", "manual", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("arguments", [[], ["--list"]])
def test_the_list_has_a_line_for_each_page(arguments):
    result = CliRunner().invoke(app, ["manual", *arguments])
    lines = result.output.splitlines()
    assert sorted(line.split()[0] for line in lines) == [page.stem for page in PAGES]
    assert lines[0].startswith("contents ")
    assert "refining     What refinement does, and what train-nformer trains." in lines
    assert max(map(len, lines)) <= 80


def test_in_a_pipe_a_page_is_its_markdown():
    done = run("refining")
    assert done.returncode == 0
    assert done.stdout == (manual.PAGES / "refining.md").read_text()
    assert done.stderr == ""


def test_an_unknown_topic_names_the_nearest_and_all():
    done = run("refning")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: the manual has no page 'refning'; did you mean refining?")
    assert "It has contents, start, datasets, " in done.stderr


def test_a_topic_like_no_other_names_all():
    with pytest.raises(BadInput, match=r"no page 'xyzzy'\. It has contents, start, "):
        manual.page_of("xyzzy")


def test_a_topic_may_be_written_in_capitals_or_as_a_file():
    assert manual.page_of("Settings").name == manual.page_of("settings.md").name == "settings.md"


def test_it_loads_nothing_heavy():
    heavy = ("torch", "numpy", "h5py", "faiss", "scipy", "matplotlib", "PIL")
    code = (
        "import sys; sys.argv = ['nformer', 'manual', 'settings']\n"
        "from nformer_cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "from nformer_cli.commands import manual\n"
        "manual.laid_out('# A page')\n"  # as on a terminal
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_a_terminal_gets_headings_code_and_links_in_words():
    page = (
        "# A page\n\nSee [settings](settings.md#recipes), [the recall](glossary.md#recall), "
        "[below](#end), [a record](../../pipelines/benchmarks/nformer.md).\n\n"
        "    nformer info\n\n![a picture](x.png)\n\n## The *end*\n\nRead [how](start.md).\n"
    )
    assert [line.rstrip() for line in shown(page).splitlines() if line.strip()] == [
        "A page",
        "See nformer manual settings, the recall, below, a record",
        "(pipelines/benchmarks/nformer.md).",
        "  nformer info",
        "[Picture: a picture]",
        "The end",
        "Read how (nformer manual start).",
    ]


def test_a_link_in_a_sentence_keeps_its_word_and_each_page_is_named_once():
    page = (
        "Each has its own [rules](rules.md) (see [rules](rules.md#more), [start](start.md)).\n\n"
        "[Rules](rules.md) are in [the page](here.md#x).\n"
    )
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(manual.laid_out(page, of="here"))
    assert [line.rstrip() for line in capture.get().splitlines() if line.strip()] == [
        "Each has its own rules (nformer manual rules) (see rules, nformer manual start).",
        "nformer manual rules are in the page.",
    ]


def test_a_word_wider_than_its_column_ends_after_a_slash_or_underscore():
    text = "image, train_test_split/train_list.txt, abcdefghijklmnop"
    assert manual.breaks_in(text, 16) == [18, 24]
    assert (text[7:18], text[18:24], text[24:39]) == ("train_test_", "split/", "train_list.txt,")
    shown_there = shown(f"| `{'x' * 60}` | b |\n|---|---|\n| c | `one_two_{'y' * 24}` |\n", 60)
    assert "one_two_\n" in "\n".join(line.rstrip() for line in shown_there.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_fits_80_columns_and_leaves_no_markup(page):
    text = shown(page.read_text())
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("…") == page.read_text().count("…")  # nothing is cut
    assert "](" not in text
    assert "\x1b" not in text
    assert not any(line.startswith(("#", "|")) for line in text.splitlines())


def test_a_terminal_gets_the_page_through_its_pager(monkeypatch):
    paged = []
    monkeypatch.setattr(manual, "out", Console(width=80, force_terminal=True))
    monkeypatch.setattr("pydoc.pager", paged.append)
    manual.show_page(manual.PAGES / "glossary.md")
    assert len(paged) == 1
    assert "\x1b[" in paged[0]  # headings stand out
    assert "Mean average precision" in paged[0]
