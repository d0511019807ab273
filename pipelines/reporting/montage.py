"""Write what a search found as a montage (.png, .jpg) or as a page (.html)."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images import UnreadableImage, is_there, read_image, read_item
from ..errors import BadInput
from ..extraction.pictures import Crop, cropped
from ..files import replacing, write_text
from ..gallery.answers import Answer, Hit, SearchResult
from .page import data_uri, not_there, template

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = (96, 192)  # width, height of a picture
CAPTION, GAP, TEXT = 54, 8, 12
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
LETTERS = 15  # of a line
MOST_ANSWERS = 50  # in a montage; a page holds all


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

    def uri(picture: "Image | None") -> str:
        return "" if picture is None else data_uri(picture, (TILE[0] * 2, TILE[1] * 2))

    words = {"summary": summary, "said": said_of, "person": person, "attention_of": attention_of}
    page = template("search.html.j2").render(
        result=result,
        asked=lambda answer: uri(_query(answer, crop)),
        found=lambda hit: uri(_picture(hit.name, result)),
        **words,
    )
    write_text(path, page + "\n")
    return path


def require_endings(*, montage: Path | None = None, html: Path | None = None) -> None:
    """Raise BadInput when a name does not end as a picture's or a page's does."""
    if montage is not None and montage.suffix.lower() not in FORMATS:
        raise BadInput(f"--montage {montage}: wanted a name that ends in .png, .jpg or .webp")
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"--html {html}: wanted a name that ends in .html")


def unshown(result: SearchResult) -> str:
    """Return how many of the pictures found do not lie where they did, "" where all do."""
    names = list(dict.fromkeys(hit.name for answer in result.answers for hit in answer.hits))
    folders = [result.root, *result.folders]
    missing = [name for name in names if not is_there(name, folders)]
    return not_there(missing, of=len(names), root=result.root)


def summary(result: SearchResult) -> str:
    """Return what was searched, and what the threshold means, in a line."""
    refined = result.refined
    how = f"refined by {result.refined_by}" if refined else "embeddings as they are"
    asked = "1 query" if len(result.answers) == 1 else f"{len(result.answers):,} queries"
    text = f"{asked} among {result.gallery:,} gallery items, {how}"
    if result.threshold is None:
        return text
    text += f"; nobody below a similarity of {result.threshold:.3f}{' before refinement' * refined}"
    if result.false_accepts is not None:
        text += f", which {result.false_accepts:.1%} of the strangers in training reach"
    return text


def verdict(answer: Answer, result: SearchResult) -> str:
    """Return whether somebody is there, or "" when nobody asked."""
    if answer.nobody is None or result.threshold is None:
        return ""
    what = "before refinement" if result.refined else "similarity"
    if answer.nobody:
        return f"nobody here: {what} {answer.nearest:.3f} < {result.threshold:.3f}"
    return f"somebody is here: {what} {answer.nearest:.3f} ≥ {result.threshold:.3f}"


def training_note(answer: Answer) -> str:
    """Return that a query was trained on, and so cannot be found, or ""."""
    if not answer.training:
        return ""
    found = ", so nobody in it is this person" if answer.absent else ""
    held = "test people" if answer.absent else "test images"
    return f"this is a training image: the index holds the {held} only{found}"


def person(hit: Hit) -> str:
    """Return a hit's identity and camera in words."""
    who = f"id {hit.identity or hit.pid}" if hit.pid >= 0 else "id unknown"
    return f"{who}, camera {hit.camera or hit.camid}" if hit.camid >= 0 else who


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


def said_of(answer: Answer, result: SearchResult) -> list[str]:
    """Return the sentences about an answer: who is there, and whether it can be."""
    return [text for text in (verdict(answer, result), training_note(answer)) if text]


def attention_of(answer: Answer) -> str:
    """Return which gallery items refined a query, and by how much."""
    if not answer.listened:
        return ""
    shares = ", ".join(f"{name} {share:.1%}" for name, share in answer.listened)
    return f"attention: itself {answer.own:.1%}, {shares}"


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
