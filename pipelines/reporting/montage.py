"""Write what a search found as a montage (.png, .jpg) or as a page (.html)."""

import base64
from collections.abc import Iterator
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images import UnreadableImage, read_image, read_item
from ..errors import BadInput
from ..extraction.pictures import Crop, cropped
from ..files import replacing, write_text
from ..gallery.answers import Answer, Hit, SearchResult

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = (96, 192)  # width, height of a picture
CAPTION, GAP, TEXT = 54, 8, 12
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
LETTERS = 15  # of a line
MOST_ANSWERS = 50  # in a montage; a page holds all
STYLE = """
:root{color-scheme:light dark}body{font:16px/1.4 system-ui,sans-serif;margin:1rem auto;
max-width:75rem;padding:0 1rem}section{border-top:1px solid;margin-top:1.5rem}
ol{display:flex;flex-wrap:wrap;gap:.75rem;list-style:none;padding:0}figure{margin:0;width:7rem}
img,.none{width:6rem;height:12rem;object-fit:contain;background:#8883}.none{display:block}
figcaption{font-size:.8rem;overflow-wrap:anywhere}.query img{outline:3px solid}
"""


def write_montage(result: SearchResult, path: Path, *, crop: Crop | None = None) -> Path:
    """Write one picture: a row for each query, the query first, its items behind it.

    Raises:
        BadInput: an ending that is no picture's.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    require_endings(montage=path)
    answers = result.answers[:MOST_ANSWERS]
    columns = 1 + max((len(answer.hits) for answer in answers), default=0)
    width, height = TILE[0] + GAP, TILE[1] + CAPTION
    sheet = Image.new("RGB", (columns * width + GAP, len(answers) * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for row, answer in enumerate(answers):
        for column, (picture, lines) in enumerate(_cells(result, answer, crop=crop)):
            x, y = GAP + column * width, GAP + row * height
            tile = Image.new("RGB", TILE, "lightgrey")
            sheet.paste(ImageOps.pad(picture, TILE, color="lightgrey") if picture else tile, (x, y))
            colour = "firebrick" if answer.nobody and column == 0 else "black"
            if column == 0:
                corners = ((x, y), (x + TILE[0] - 1, y + TILE[1] - 1))
                draw.rectangle(corners, outline=colour, width=3)
            below = (x, y + TILE[1] + 2)
            draw.multiline_text(below, "\n".join(lines), colour, font, spacing=2)
    with replacing(path) as temporary, temporary.open("wb") as file:
        sheet.save(file, format=FORMATS[path.suffix.lower()])
    return path


def write_page(result: SearchResult, path: Path, *, crop: Crop | None = None) -> Path:
    """Write one self-contained HTML page with every query, its items and what it read.

    Raises:
        BadInput: an ending that is not a page's.
    """
    require_endings(html=path)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width"><title>nformer search</title>',
        f"<style>{STYLE}</style></head><body><h1>Search</h1><p>{escape(summary(result))}</p>",
        *(_section(result, answer, crop=crop) for answer in result.answers),
        "</body></html>\n",
    ]
    write_text(path, "\n".join(parts))
    return path


def require_endings(*, montage: Path | None = None, html: Path | None = None) -> None:
    """Raise BadInput when a name does not end as a picture's or a page's does."""
    if montage is not None and montage.suffix.lower() not in FORMATS:
        raise BadInput(f"--montage {montage}: wanted a name that ends in .png, .jpg or .webp")
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"--html {html}: wanted a name that ends in .html")


def summary(result: SearchResult) -> str:
    """Return what was searched, and what the threshold means, in a line."""
    how = "refined by NFormer" if result.refined else "embeddings as they are"
    asked = "1 query" if len(result.answers) == 1 else f"{len(result.answers):,} queries"
    text = f"{asked} among {result.gallery:,} gallery items, {how}"
    if result.threshold is None:
        return text
    text += f"; nobody below a similarity of {result.threshold:.3f} before refinement"
    if result.false_accepts is not None:
        text += f", which {result.false_accepts:.1%} of the strangers in training reach"
    return text


def verdict(answer: Answer, result: SearchResult) -> str:
    """Return whether somebody is there, or "" when nobody asked."""
    if answer.nobody is None or result.threshold is None:
        return ""
    if answer.nobody:
        return f"nobody here: before refinement {answer.nearest:.3f} < {result.threshold:.3f}"
    return f"somebody is here: before refinement {answer.nearest:.3f} ≥ {result.threshold:.3f}"


def person(hit: Hit) -> str:
    """Return a hit's identity and camera in words."""
    who = f"id {hit.pid}" if hit.pid >= 0 else "id unknown"
    return f"{who}, camera {hit.camid}" if hit.camid >= 0 else who


def shortened(name: str) -> str:
    """Return a name that fits under a picture, in at most two lines; its end where it is long."""
    if len(name) <= LETTERS:
        return name
    shown = name if len(name) <= 2 * LETTERS else f"...{name[3 - 2 * LETTERS :]}"
    return f"{shown[:LETTERS]}\n{shown[LETTERS:]}"


def _cells(
    result: SearchResult, answer: Answer, *, crop: Crop | None
) -> Iterator[tuple["Image | None", list[str]]]:
    name = shortened(Path(answer.query).name)
    yield _query(answer, crop), ["nobody here" if answer.nobody else "query", name]
    for hit in answer.hits:
        lines = [f"{hit.rank}   {hit.similarity:.3f}", person(hit).replace("camera", "cam")]
        lines += [f"lent {hit.weight:.0%}"] if hit.weight > 0 else []
        yield _picture(hit.name, result), lines


def _section(result: SearchResult, answer: Answer, *, crop: Crop | None) -> str:
    said = verdict(answer, result)
    figures = [
        f'<li><figure class="query">{_img(_query(answer, crop), f"query {answer.query}")}'
        f"<figcaption>query</figcaption></figure></li>"
    ]
    for hit in answer.hits:
        lent = f", lent {hit.weight:.1%}" if hit.weight > 0 else ""
        text = f"{hit.rank}. {person(hit)}, {hit.similarity:.3f}{lent}"
        shown = _img(_picture(hit.name, result), f"rank {hit.rank}: {hit.name}")
        figures.append(
            f"<li><figure>{shown}<figcaption>{escape(text)}<br>{escape(hit.name)}</figcaption>"
            "</figure></li>"
        )
    return (
        f"<section><h2>{escape(answer.query)}</h2>"
        + (f"<p><strong>{escape(said)}</strong></p>" if said else "")
        + f"<ol>{''.join(figures)}</ol>"
        + (f"<p>{escape(attention_of(answer))}</p>" if answer.listened else "")
        + "</section>"
    )


def attention_of(answer: Answer) -> str:
    """Return which gallery items refined a query, and by how much."""
    if not answer.listened:
        return ""
    shares = ", ".join(f"{name} {share:.1%}" for name, share in answer.listened)
    return f"listened to itself {answer.own:.1%}, {shares}"


def _query(answer: Answer, crop: Crop | None) -> "Image | None":
    if not answer.picture:
        return None
    path = Path(answer.picture)
    return cropped(read_image(path), crop, path=path)


def _picture(name: str, result: SearchResult) -> "Image | None":
    """Return a gallery item's picture; None where it does not lie on this machine any more."""
    try:
        return read_item(name, [result.root, *result.folders])
    except UnreadableImage:
        return None


def _img(picture: "Image | None", text: str) -> str:
    if picture is None:
        return f'<span class="none" role="img" aria-label="{escape(text)}: no picture"></span>'
    content = BytesIO()
    picture.thumbnail((TILE[0] * 2, TILE[1] * 2))
    picture.save(content, "JPEG", quality=85)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{encoded}" alt="{escape(text)}">'
