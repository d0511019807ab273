"""Embed pictures, or read files of embeddings, to search with them or to index them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.formats.reading import FORMATS, read_embedding_files
from ..artifacts.formats.split import FileSplit
from ..artifacts.run import Run
from ..data.folders import IMAGE_ENDINGS, image_names
from ..embeddings import Embeddings, row_blocks
from ..errors import BadInput, StaleArtifact
from ..imports import importing
from ..progress import Progress

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..backbones.backbone import Backbone

BATCH = 64
MANY = 32  # pictures that are worth a faster network
Crop = tuple[int, int, int, int]  # x, y, width, height in pixels


@dataclass(frozen=True)
class Gathered:
    """What the sources hold, and the seconds that reading it took, by step."""

    embeddings: Embeddings
    pictures: list[Path | None]  # None for what came as embeddings
    seconds: dict[str, float] = field(default_factory=dict)


def gather(
    run: Run,
    sources: Sequence[Path],
    *,
    prefer: str,
    device: str,
    pid: int = -1,
    camid: int = -1,
    crop: Crop | None = None,
    progress: Progress,
) -> Gathered:
    """Embed pictures with the run's backbone, and read files of embeddings.

    prefer: the split to take of a file that holds several.   crop: of every picture.
    pid, camid: of the pictures, and of embeddings that say nothing of it.

    Raises:
        BadInput: nothing there, an unreadable picture, a crop outside of one, or pictures in a run
            that has no backbone.
    """
    files = [path for path in sources if path.suffix.lower() in FORMATS and not path.is_dir()]
    pictures = [one for path in sources if path not in files for one in pictures_in(path)]
    parts, shown, seconds = [], list[Path | None](pictures), dict[str, float]()
    if pictures:
        begun, embedded = time.perf_counter(), []
        embedder = PictureEmbedder(run, device, many=len(pictures) >= MANY)
        loaded = time.perf_counter()
        with progress.task("embed", len(pictures), unit="pictures") as task:
            for part in row_blocks(len(pictures), BATCH):
                embedded.append(embedder.embed([_picture(one, crop) for one in pictures[part]]))
                task.advance(len(embedded[-1]))
        seconds = {"load backbone": loaded - begun, "embed": time.perf_counter() - loaded}
        features = np.concatenate(embedded)
        pids, camids = (np.full(len(pictures), label) for label in (pid, camid))
        parts.append(Embeddings(features, pids, camids, list(map(str, pictures))))
    if files:
        found = _read(files, prefer, unknown=(pid, camid), progress=progress)
        parts.append(found)
        shown += [None] * len(found)
    if not parts:
        raise BadInput("nothing given; name pictures, folders of them, or files of embeddings")
    return Gathered(_joined(parts), shown, seconds)


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
    x, y, width, height = crop
    fits = x + width <= image.width and y + height <= image.height
    if min(x, y) < 0 or min(width, height) < 1 or not fits:
        raise BadInput(
            f"--crop {x},{y},{width},{height} lies outside of {path}, which is "
            f"{image.width}×{image.height}; wanted x,y,width,height in pixels within it"
        )
    return image.crop((x, y, x + width, y + height))


class PictureEmbedder:
    """The run's backbone for pictures from anywhere.

    many: prepare it as `extract` does, folded and in bf16 where that is fast; it pays from some
          tens of pictures on. As it is, in float32, it gives the same within bf16's rounding.
    """

    def __init__(self, run: Run, device: str, *, many: bool = True) -> None:
        from ..artifacts.backbone import load_backbone
        from ..backbones.light_torchvision import import_torchvision
        from ..device import choose_device
        from ..training.precision import DTYPES, choose_precision

        manifest = run.manifest("embeddings.h5")
        if manifest is not None and manifest.stage == "import-embeddings":
            raise BadInput(
                f"the embeddings in {run.folder} were imported: their network is not here. Give "
                "embeddings of the pictures by the same network (.npz, .npy + .csv, …) instead"
            )
        if run.changed_inputs("embeddings.h5"):
            raise StaleArtifact(
                f"{run.path('embeddings.h5')} was made with another backbone.pt than the one there "
                f"now; remake it with: nformer extract --run {run.folder} --overwrite, and then "
                f"the index with: nformer index --run {run.folder} --overwrite"
            )
        with importing("torchvision"):
            import_torchvision()
        backbone, facts = load_backbone(run.artifact("backbone.pt"))
        config = manifest.config if manifest is not None else {}
        self.device, flip = choose_device(device), config.get("flip", False)
        self.embed_batch: Callable[[Tensor], Tensor] = partial(
            plainly, backbone=backbone.to(self.device), flip=flip
        )
        if many or self.device.type != "cpu":
            from ..backbones.embedder import Embedder

            precision = choose_precision(config.get("amp", "auto"), self.device, network=backbone)
            self.embed_batch = Embedder(
                backbone, device=self.device, dtype=DTYPES[precision], flip=flip
            )
        self.size = facts["height"], facts["width"]

    def embed(self, images: "Sequence[Image.Image]") -> np.ndarray:
        """Return [N, dim] float32."""
        import torch

        from ..data.augment import normalise
        from ..data.images import resized

        height, width = self.size
        arrays = np.stack([resized(image, height=height, width=width) for image in images])
        batch = torch.from_numpy(arrays).permute(0, 3, 1, 2).to(self.device)
        return self.embed_batch(normalise(batch)).float().cpu().numpy()


def plainly(images: "Tensor", *, backbone: "Backbone", flip: bool) -> "Tensor":
    """Embed normalised images [B, 3, H, W] in float32, averaged with their mirrors for `flip`."""
    import torch

    from ..backbones.backbone import with_mirrors

    with torch.inference_mode():
        return with_mirrors(backbone, images, flip=flip)


def _picture(path: Path, crop: Crop | None) -> "Image.Image":
    from ..data.images import UnreadableImage, read_image

    try:
        return cropped(read_image(path), crop, path=path)
    except UnreadableImage as error:
        raise BadInput(f"{path}: {error.reason}; replace it, or leave it out") from error


def _read(
    files: list[Path], prefer: str, *, unknown: tuple[int, int], progress: Progress
) -> Embeddings:
    """Read files of embeddings, which need no labels and no split here.

    unknown: the pid and the camera of what says nothing of it.
    """
    found = read_embedding_files(files, progress.warn, labelled=False)
    wanted = [part for name in (prefer, "") for part in found.get(name, [])]
    chosen = wanted or (next(iter(found.values())) if len(found) == 1 else None)
    if not chosen:
        raise BadInput(
            f"{files[0]} holds {', '.join(found)}; a {prefer} split, or just one, is wanted"
        )
    return _joined([_whole(part, unknown) for part in chosen])


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
        raise BadInput(f"the widths differ: {widths}; one network makes one width")
    return Embeddings(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.pids for part in parts]),
        np.concatenate([part.camids for part in parts]),
        [name for part in parts for name in part.names],
    )
