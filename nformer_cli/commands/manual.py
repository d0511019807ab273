"""nformer manual [TOPIC]: show a page of the manual in the terminal."""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from pipelines.errors import BadInput

from ..console import out

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.markdown import Markdown

PAGES = Path(__file__).parents[1] / "manual"
WIDEST = 100  # columns: longer lines are hard to read
BEFORE_A_PAGE = re.compile(r"(?:^|\(|\| |[Ss]ee |\bin |[.;,] )$")  # a page's name, not a word
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def manual(
    topic: Annotated[
        str, typer.Argument(metavar="[TOPIC]", help="A page, such as refining; none: list them.")
    ] = "",
    list_topics: Annotated[bool, typer.Option("--list", help="List the pages.")] = False,
) -> None:
    """Read the manual, a page a topic.

    Reads: the pages, which are installed with the program.

    Writes: the page to stdout: laid out and paged on a terminal, as Markdown into a pipe or a file.

    Example: nformer manual refining
    """
    if list_topics or not topic:
        show_topics()
    else:
        show_page(page_of(topic))


def topics() -> list[str]:
    """Return the names of the pages, in the order in which the contents page links them."""
    known = sorted(path.stem for path in PAGES.glob("*.md"))
    linked = re.findall(r"\]\(([a-z-]+)\.md\)", (PAGES / "contents.md").read_text(encoding="utf-8"))
    first = dict.fromkeys(name for name in ("contents", *linked) if name in known)
    return [*first, *(name for name in known if name not in first)]


def page_of(topic: str) -> Path:
    """Return the file of a topic; BadInput, with the nearest and all others, if there is none."""
    known, wanted = topics(), topic.strip().lower().removesuffix(".md")
    if wanted in known:
        return PAGES / f"{wanted}.md"
    near = get_close_matches(wanted, known, n=1)
    meant = f"; did you mean {near[0]}?" if near else "."
    raise BadInput(f"the manual has no page {topic!r}{meant} It has {', '.join(known)}")


def show_topics() -> None:
    """Print a line for each page, and how to read one."""
    names = topics()
    width = max(map(len, names))
    for name in names:
        text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
        about = [line for line in text.splitlines() if line.strip()][1].replace("`", "")
        out.print(f"[bold]{name:{width}}[/]  {escape(about)}", highlight=False, soft_wrap=True)
    if out.is_terminal:
        out.print("\nRead one with: nformer manual TOPIC", highlight=False)


def show_page(page: Path) -> None:
    """Print a page: laid out and paged on a terminal, as it is elsewhere."""
    text = page.read_text(encoding="utf-8")
    if not out.is_terminal:
        typer.echo(text, nl=False)
        return
    from rich.theme import Theme

    os.environ.setdefault("LESS", "FRX")  # colours; no pager for what fits the screen
    colours = Theme({"markdown.code": "cyan", "markdown.code_block": "cyan"})
    with out.use_theme(colours), out.pager(styles=True):
        out.print(laid_out(text, of=page.stem), width=min(out.width, WIDEST))


def laid_out(text: str, *, of: str = "") -> "Markdown":
    """Return a page for a terminal: plain headings, code as it is, links that name the topic.

    of: the page's own name.
    """
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.containers import Lines
    from rich.markdown import CodeBlock, Heading, Markdown, TableDataElement
    from rich.padding import Padding
    from rich.text import Text

    class PlainHeading(Heading):
        """A heading at the left; the first two levels are underlined."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            yield Text(self.text.plain, style="bold underline" if self.tag < "h3" else "bold")

    class PlainCode(CodeBlock):
        """Code without a background, indented by two."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            code = Text(str(self.text).rstrip(), style="markdown.code_block", overflow="fold")
            yield Padding(code, (0, 0, 0, 2))

    class Broken(Text):
        """Text in which a word that is wider than its column ends after a / or _."""

        def wrap(self, console: Console, width: int, **options: Any) -> Lines:
            """Return the lines of a width."""
            pieces = self.divide(breaks_in(self.plain, width))
            return Text.wrap(Text("\n").join(pieces), console, width, **options)

    class WholeCell(TableDataElement):
        """A table's cell that folds a long word; rich would cut it."""

        def __init__(self, justify: "JustifyMethod") -> None:
            super().__init__(justify)
            self.content = Broken("", justify=justify, overflow="fold")

    class Page(Markdown):
        elements = {  # noqa: RUF012 - rich declares it so
            **Markdown.elements,
            "heading_open": PlainHeading,
            "fence": PlainCode,
            "code_block": PlainCode,
            "td_open": WholeCell,
            "th_open": WholeCell,
        }

    paragraphs = [_links_in_words(one, of=of) for one in text.split("\n\n")]
    return Page("\n\n".join(paragraphs), hyperlinks=False)


def breaks_in(text: str, width: int) -> list[int]:
    """Return where words wider than a column are to be broken: after the last / that fits, or _."""
    found = []
    for word in re.finditer(r"\S+", text):
        start, end = word.span()
        while end - start > width:
            ends = [text.rfind(mark, start, start + width) for mark in "/_"]
            start = 1 + next((place for place in ends if place >= 0), -1)
            if not start:
                break  # it is folded
            found.append(start)
    return found


def _links_in_words(paragraph: str, *, of: str) -> str:
    """Return a paragraph in which each other page that is linked is named once as its command."""
    named = {of}
    return LINK.sub(lambda link: _link_in_words(link, named=named), paragraph)


def _link_in_words(link: re.Match[str], *, named: set[str]) -> str:
    """Return a link as a terminal shows it: another page as its topic, a term as the term.

    named: the pages that have been named; this one is added.
    """
    picture, words, target = link.groups()
    if picture:
        return f"*[Picture: {words}]*"
    page, ending, _ = target.partition(".md")
    if target.startswith("#") or page == "glossary" or (ending and page in named):
        return words
    if ending and "/" not in page:
        named.add(page)
        before = link.string[max(0, link.start() - 5) : link.start()]
        same = words.lower() == page and BEFORE_A_PAGE.search(before)
        return f"`nformer manual {page}`" if same else f"{words} (`nformer manual {page}`)"
    return f"[{words}]({target.removeprefix('../../')})"
