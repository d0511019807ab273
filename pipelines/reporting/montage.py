"""Write what a search found as a montage (.png, .jpg) or as a page (.html)."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images import UnreadableImage, is_there, read_image, read_item
from ..errors import BadInput
from ..extraction.pictures import Crop, cropped
from ..files import replacing, write_text
from ..gallery.answers import Answer, Hit, SearchResult
from .page import data_uri, last_parts, not_there, template

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

TILE = (96, 192)  # width, height of a picture
LINE, LINES, GAP, TEXT = 18, 3, 8, 11  # height of a caption's line, lines at least, gap, letters
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
LETTERS = 40  # at most, of a line: more than fit, so that long names are cut soon
MOST_ANSWERS = 50  # in a montage; a page holds all


def write_montage(result: SearchResult, path: Path, *, crop: Crop | None = None) -> Path:
    """Write one picture: a row for each query, the query first, its items behind it.

    Raises:
        BadInput: an ending that is no picture's.
    """
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    require_endings(montage=path)
    answers = result.answers[:MOST_ANSWERS]
    columns = 1 + max((len(answer.hits) for answer in answers), default=0)
    letters = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    font = ImageFont.truetype(letters, TEXT)  # Pillow's own has ASCII alone
    captions = [_captions(answer, font) for answer in answers]
    deepest = max((len(lines) for row in captions for lines in row), default=0)
    width, height = TILE[0] + GAP, TILE[1] + LINE * max(LINES, deepest)
    sheet = Image.new("RGB", (columns * width + GAP, len(answers) * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, answer in enumerate(answers):
        pictures = _query(answer, crop), *(_picture(hit.name, result) for hit in answer.hits)
        for column, (picture, lines) in enumerate(zip(pictures, captions[row], strict=True)):
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
    return ", ".join(_labels(hit, camera="camera"))


def _labels(hit: Hit, *, camera: str) -> list[str]:
    """Return a hit's identity and, where it is known, its camera, called by the word given."""
    who = f"id {hit.identity or hit.pid}" if hit.pid >= 0 else "id unknown"
    return [who, f"{camera} {hit.camera or hit.camid}"] if hit.camid >= 0 else [who]


def fitting(text: str, font: "FreeTypeFont", *, lines: int = 1) -> list[str]:
    """Return a text in at most so many lines of a picture's width, its middle left out if need be.

    Names of pictures and of people differ at their ends as well as at their beginnings.
    """
    found: list[str] = []
    for kept in range(min(len(text), LETTERS * lines), -1, -1):
        end = len(text) - kept // 2
        shown = text if kept == len(text) else f"{text[: kept - kept // 2]}…{text[end:]}"
        found = [""]
        for letter in shown:
            if font.getlength(found[-1] + letter) > TILE[0]:
                found.append("")
            found[-1] += letter
        if len(found) <= lines:
            break
    return found


def _captions(answer: Answer, font: "FreeTypeFont") -> list[list[str]]:
    """Return the lines below the query's picture and below each item's."""
    name = fitting(Path(answer.query).name, font, lines=2)
    captions = [["nobody here" if answer.nobody else "query", *name]]
    for hit in answer.hits:
        labels, name = _labels(hit, camera="cam"), list[str]()
        if hit.pid < 0:
            labels, name = labels[1:], fitting(last_parts(hit.name), font, lines=2)
        if font.getlength(", ".join(labels)) <= TILE[0]:
            labels = [", ".join(labels)] if labels else []
        about = [*name, *(line for label in labels for line in fitting(label, font))]
        lent = [f"lent {hit.weight:.0%}"] if hit.weight > 0 else []
        captions.append([f"{hit.rank}   {hit.similarity:.3f}", *about, *lent])
    return captions


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
