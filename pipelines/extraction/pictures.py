"""Embed pictures, or read files of embeddings, to search with them or to index them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.formats.reading import FORMATS, read_embedding_files
from ..artifacts.formats.split import FileSplit
from ..data.boxes import Box, Rectangle, named_box, read_boxes, within
from ..data.folders import IMAGE_ENDINGS, image_names
from ..data.images import UnreadableImage, fitted, image_size, read_image
from ..embeddings import Embeddings
from ..errors import BadInput
from ..labels import NUMBERS, LabelNames
from ..preprocessing import Preprocessing
from ..progress import Progress
from .given import Use

if TYPE_CHECKING:
    from PIL import Image

    from .networks import Network

FRAMES_KEPT = 8  # decoded: a frame's boxes mostly follow each other
MANY = 32  # pictures that are worth a faster network
Crop = Rectangle
Opens = Callable[[Use], "Network"]


@dataclass(frozen=True)
class Picture:
    """A picture file, or the box of one, with the box's score and track."""

    path: Path
    box: Box | None = None

    @property
    def name(self) -> str:
        """The file's path, and the box."""
        return str(self.path) if self.box is None else named_box(str(self.path), self.box.rectangle)


@dataclass(frozen=True)
class Gathered:
    """What the sources hold, and the seconds that reading it took, by step.

    labels: the names of what files of embeddings call their identities and cameras.
    """

    embeddings: Embeddings
    pictures: list[Path | None]  # None for what came as embeddings
    seconds: dict[str, float] = field(default_factory=dict)
    labels: LabelNames = NUMBERS


def gather(
    sources: Sequence[Path],
    *,
    prefer: str,
    network: Opens,
    pid: int = -1,
    camid: int = -1,
    crop: Crop | None = None,
    progress: Progress,
) -> Gathered:
    """Embed pictures with a network, and read files of embeddings.

    network: opens it, where there are pictures.
    prefer: the split to take of a file that holds several.   crop: of every picture.
    pid, camid: of the pictures, and of embeddings that say nothing of it.

    Raises:
        BadInput: nothing there, an unreadable picture, a crop outside of one, or pictures in a run
            that does not have its network.
    """
    files = [path for path in sources if path.suffix.lower() in FORMATS and not path.is_dir()]
    paths = [one for path in sources if path not in files for one in pictures_in(path)]
    parts, shown, seconds = [], list[Path | None](paths), dict[str, float]()
    labels = NUMBERS
    if paths:
        begun = time.perf_counter()
        opened = network("many" if len(paths) >= MANY else "once")
        loaded = time.perf_counter()
        from .chunks import embed_source

        pictures = PictureFiles(list(map(Picture, paths)), opened.preprocessing, crop=crop)
        try:
            features = embed_source(opened, pictures, progress=progress)
        except UnreadableImage as error:
            listed = "; ".join(pictures.unreadable())
            raise BadInput(f"{listed}: replace what cannot be read, or leave it out") from error
        seconds = {"load backbone": loaded - begun, "embed": time.perf_counter() - loaded}
        pids, camids = (np.full(len(paths), label) for label in (pid, camid))
        parts.append(Embeddings(features, pids, camids, list(map(str, paths))))
    if files:
        found, labels = _read(files, prefer, unknown=(pid, camid), progress=progress)
        parts.append(found)
        shown += [None] * len(found)
    if not parts:
        raise BadInput("nothing given; name pictures, folders of them, or files of embeddings")
    return Gathered(_joined(parts), shown, seconds, labels)


class PictureFiles:
    """Picture files, and boxes of them, as images that fit a network. Safe among threads.

    crop: the part of every picture, in pixels.
    """

    def __init__(
        self, pictures: Sequence[Picture], preprocessing: Preprocessing, *, crop: Crop | None = None
    ) -> None:
        self.pictures, self.preprocessing, self.crop = pictures, preprocessing, crop
        self.names: Sequence[str] = [one.name for one in pictures]
        self.height, self.width = preprocessing.height, preprocessing.width
        boxed = any(one.box for one in pictures)
        self.open = lru_cache(FRAMES_KEPT)(read_image) if boxed else read_image

    def read(self, row: int) -> np.ndarray:
        """Return picture `row`, [height, width, 3] uint8.

        Raises:
            UnreadableImage: it cannot be read.   BadInput: the crop lies outside of it.
        """
        picture = self.pictures[row]
        crop = picture.box.rectangle if picture.box else self.crop
        part = cropped(self.open(picture.path), crop, path=picture.path)
        return fitted(part, self.preprocessing)

    def unreadable(self) -> list[str]:
        """Return "PATH: REASON" of each picture that cannot be read."""
        found = []
        for row in range(len(self.pictures)):
            try:
                self.read(row)
            except UnreadableImage as error:
                found.append(f"{error.name}: {error.reason}")
        return found


def pictures_below(folder: Path, *, boxes: Path | None, progress: Progress) -> list[Picture]:
    """Return the pictures in a folder and below it, or the boxes of a file in them.

    Raises:
        BadInput: no folder, no pictures, or boxes that do not fit them.
    """
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "is not there"
        raise BadInput(f"--pictures {folder} {problem}; a folder of pictures is wanted")
    found = [Picture(path) for path in pictures_in(folder)]
    if boxes is None:
        return found
    by_name = {one.path.relative_to(folder).as_posix(): one.path for one in found}
    read = read_boxes(boxes, frames=list(by_name))
    for text in read.understood:
        progress.message(text)
    sizes = {name: _size(by_name[name]) for name in {box.frame for box in read.boxes}}
    inside = [
        within(box, width=sizes[box.frame][0], height=sizes[box.frame][1]) for box in read.boxes
    ]
    cut = sum(one.rectangle != box.rectangle for one, box in zip(inside, read.boxes, strict=True))
    if cut:
        progress.warn(f"{cut:,} boxes reach over the edge of their frame and were cut there")
    return [Picture(by_name[box.frame], box) for box in inside]


def _size(path: Path) -> tuple[int, int]:
    try:
        return image_size(path)
    except UnreadableImage as error:
        raise BadInput(f"{path}: {error.reason}; replace it, or leave its boxes out") from error


def pictures_in(path: Path) -> list[Path]:
    """Return a picture, or those in a folder and below it, sorted."""
    if path.is_dir():
        found = [path / name for name in image_names(path, deep=True)]
        if not found:
            raise BadInput(f"{path} holds no pictures; wanted {', '.join(IMAGE_ENDINGS)}")
        return found
    if not path.exists():
        raise BadInput(
            f"{path} is not there; a picture, a folder or a file of embeddings is wanted"
        )
    return [path]


def cropped(image: "Image.Image", crop: Crop | None, *, path: Path) -> "Image.Image":
    """Return the part of an image that a crop of x, y, width, height in pixels names."""
    if crop is None:
        return image
    require_within(crop, image.size, path=path)
    x, y, width, height = crop
    return image.crop((x, y, x + width, y + height))


def require_within(crop: Crop, size: tuple[int, int], *, path: Path) -> None:
    """Raise BadInput unless a crop lies within an image of a width and a height."""
    x, y, width, height = crop
    fits = x + width <= size[0] and y + height <= size[1]
    if min(x, y) < 0 or min(width, height) < 1 or not fits:
        raise BadInput(
            f"--crop {x},{y},{width},{height} lies outside of {path}, which is "
            f"{size[0]}×{size[1]}; wanted x,y,width,height in pixels within it"
        )


def _read(
    files: list[Path], prefer: str, *, unknown: tuple[int, int], progress: Progress
) -> tuple[Embeddings, LabelNames]:
    """Read files of embeddings, which need no labels and no split here; and what labels are called.

    unknown: the pid and the camera of what says nothing of it.
    """
    found = read_embedding_files(files, progress.warn, labelled=False)
    wanted = [part for name in (prefer, "") for part in found.get(name, [])]
    chosen = wanted or (next(iter(found.values())) if len(found) == 1 else None)
    if not chosen:
        raise BadInput(
            f"{files[0]} holds {', '.join(found)}; a {prefer} split, or just one, is wanted"
        )
    return _joined([_whole(part, unknown) for part in chosen]), chosen[0].label_names


def _whole(part: FileSplit, unknown: tuple[int, int]) -> Embeddings:
    pid, camid = unknown
    pids = part.pids if part.labelled else np.full(len(part), pid)
    camids = np.full(len(part), camid) if part.camids is None else part.camids
    numbered = (f"{part.path.name}/{row:07d}" for row in range(len(part)))
    names = list(numbered if part.names is None else part.names())
    features: Any = np.concatenate([block.astype(np.float32) for block in part.blocks()])
    return Embeddings(features, pids, camids, names)


def _joined(parts: list[Embeddings]) -> Embeddings:
    if len(parts) == 1:
        return parts[0]
    if len({part.dim for part in parts}) > 1:
        widths = ", ".join(str(part.dim) for part in parts)
        raise BadInput(f"the embeddings differ in width: {widths}; those of one network do not")
    return Embeddings(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.pids for part in parts]),
        np.concatenate([part.camids for part in parts]),
        [name for part in parts for name in part.names],
    )
