"""Images a second of ResNet-50, 256×128: extraction and training against the bare network."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..backbones.backbone import Backbone, build_backbone
from ..backbones.embedder import Embedder
from ..config import BackboneConfig
from ..data.augment import normalise
from ..data.batches import BatchLoader
from ..data.images import ImageFiles, ImageSource
from ..data.packed import PackedFile, write_packed
from ..device import choose_device
from ..extraction.chunks import embed_rows
from ..extraction.networks import Network
from ..preprocessing import Preprocessing
from ..progress import Progress, Silent
from ..training.backbone import BackboneTrainer
from ..training.delayed import one_behind
from ..training.losses import identity_loss, triplet_loss
from ..training.precision import DTYPES, choose_precision
from .record import Record

ARCH, HEIGHT, WIDTH = "resnet50", 256, 128
SMALL = ("resnet18", 64, 32)
INSTANCES = 2  # images of a person in a training batch
JPEG = (128, 64)  # height and width of Market-1501's files
MARKET_TRAIN = 12936  # training images of Market-1501
PAPER_EPOCHS = 160


class Scene(NamedTuple):
    """The network and the images that everything is measured on, `batch` a training step."""

    arch: str
    device: torch.device
    files: ImageFiles
    packed: ImageSource
    batch: int

    def network(self) -> Backbone:
        """Return a new network, the same each time."""
        torch.manual_seed(0)
        return build_backbone(self.arch, classes=self.people)

    @property
    def people(self) -> int:
        """How many persons the images show: enough for batches of different ones."""
        return len(self.files.names) // INSTANCES


def measure(*, quick: bool = False, progress: Progress = Silent()) -> Record:
    """Time each way in turn, several rounds, and take each one's median.

    quick: a small network and few images.
    """
    device = choose_device("auto")
    images, batch, rounds = (32, 16, 1) if quick else (128, 32, 3)
    if device.type == "cuda" and not quick:
        images, batch = 8192, 128
    arch, height, width = SMALL if quick else (ARCH, HEIGHT, WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        files, packed = _images(Path(folder), images, height=height, width=width)
        scene = Scene(arch, device, files, packed, batch)
        extraction = _medians(extraction_ways(scene), rounds, progress=progress)
        training = _medians(training_ways(scene), rounds, progress=progress)
    rows = [
        *_rows(extraction, "bare network, fast precision"),
        *_rows(training, "training: plain float32 loop"),
    ]
    precision = choose_precision("auto", device)
    notes = [
        f"{arch} at {height}×{width}, {device.type}, fast precision {precision}; images/s, median "
        f"of {rounds} rounds in turn after one to warm up; files are JPEG of "
        f"{JPEG[0]}×{JPEG[1]}.",
    ]
    ours = training["training: this toolkit"]
    hours = MARKET_TRAIN * PAPER_EPOCHS / ours.rate / 3600
    notes.append(
        f"Waiting for images took {ours.waited:.1%} of training. The paper's {PAPER_EPOCHS} epochs "
        f"of Market-1501 would take {hours:,.1f} hours here."
    )
    columns = ["", "images/s", "of the first"]
    return Record("Backbone: extraction and training", columns, rows, notes)


class Speed(NamedTuple):
    """Images a second, and the share of the time spent waiting for images."""

    rate: float
    waited: float


Way = Callable[[], Speed]


def _medians(ways: dict[str, Way], rounds: int, *, progress: Progress) -> dict[str, Speed]:
    """Run every way once to warm up, then in turn; return each one's median round."""
    found: dict[str, list[Speed]] = {name: [] for name in ways}
    with progress.task("measure", (rounds + 1) * len(ways), unit="rounds") as task:
        for number in range(rounds + 1):
            for name, way in ways.items():
                speed = way()
                if number:
                    found[name].append(speed)
                task.advance()
    return {name: sorted(speeds)[len(speeds) // 2] for name, speeds in found.items()}


def _rows(found: dict[str, Speed], reference: str) -> list[list[str]]:
    first = found[reference].rate
    return [[name, f"{s.rate:,.1f}", f"{s.rate / first:.0%}"] for name, s in found.items()]


def extraction_ways(scene: Scene) -> dict[str, Way]:
    """Return what is compared: the bare network on ready tensors, and whole extractions."""
    device, count = scene.device, len(scene.files.names)
    precision = choose_precision("auto", device)
    dtype = DTYPES[precision]
    embedder = Embedder(scene.network().eval(), device=device, dtype=dtype)
    bare = scene.network().eval().body.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain = scene.network().eval().body.to(device)
    folded = embedder.network.body
    network = Network(embedder, scene.files.preprocessing, precision, device)
    batch = min(64, count)
    images = torch.randn(batch, 3, scene.files.height, scene.files.width, device=device)
    ready = images.to(dtype, memory_format=torch.channels_last)

    def forward(network: Callable[[Tensor], Tensor], given: Tensor, *, total: int) -> Speed:
        with torch.inference_mode():
            times = range(total // batch)
            return _timed(device, total, work=lambda: [network(given) for _ in times])

    def extraction(source: ImageSource) -> Speed:
        loader = BatchLoader(source, pin=device.type == "cuda")
        work = embed_rows(network, loader, rows=range(count), size=batch)
        speed = _timed(device, count, work=lambda: list(work))
        return Speed(speed.rate, loader.waited * speed.rate / count)

    return {
        "bare network, fast precision": lambda: forward(bare, ready, total=count),
        "bare network, batch norms folded": lambda: forward(folded, ready, total=count),
        "bare network, plain float32": lambda: forward(plain, images, total=batch),
        "extraction from files": lambda: extraction(scene.files),
        "extraction from images.h5": lambda: extraction(scene.packed),
    }


def training_ways(scene: Scene) -> dict[str, Way]:
    """Return what is compared: the plain loop that peers use, and ours, images decoded in both."""
    labels = np.arange(len(scene.files.names)) % scene.people
    config = BackboneConfig(
        arch=scene.arch, batch=scene.batch, instances=INSTANCES, pad=10, erase=0.5
    )
    trainer = BackboneTrainer(scene.network(), labels, config=config, device=scene.device)
    batches = trainer.batches(0)[: max(2, 64 // scene.batch)]
    if scene.device.type == "cuda":
        batches = [batch for epoch in range(4) for batch in trainer.batches(epoch)]
    total = sum(map(len, batches))
    plain = scene.network().to(scene.device).train()
    trained = [p for p in plain.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=3e-4, momentum=0.9)

    def plain_step(rows: np.ndarray) -> float:
        """Take a step as most code does: float32, images decoded between the steps."""
        (batch,) = BatchLoader(scene.files, workers=0).iterate([rows])
        images = normalise(batch.images.to(scene.device)).contiguous()
        wanted = torch.from_numpy(labels[rows]).to(scene.device)
        output = plain(images)
        loss = identity_loss(output.logits, wanted) + triplet_loss(output.embedding, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def ours(source: ImageSource) -> Speed:
        loader = BatchLoader(source, pin=scene.device.type == "cuda")
        updates = trainer.epoch(0, loader.iterate(batches), steps=len(batches))
        losses = (float(update["loss"]) for update in one_behind(updates))
        speed = _timed(scene.device, total, work=lambda: list(losses))
        return Speed(speed.rate, loader.waited * speed.rate / total)

    return {
        "training: plain float32 loop": lambda: _timed(
            scene.device, len(batches[0]), work=lambda: plain_step(batches[0])
        ),
        "training: this toolkit": lambda: ours(scene.files),
        "training: this toolkit, images.h5": lambda: ours(scene.packed),
    }


def _timed(device: torch.device, images: int, *, work: Callable[[], object]) -> Speed:
    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    start = now()
    work()
    return Speed(images / (now() - start), 0.0)


def _images(folder: Path, count: int, *, height: int, width: int) -> tuple[ImageFiles, ImageSource]:
    """Write JPEG files of smooth noise, and the same packed."""
    generator = np.random.default_rng(0)
    names = [f"{number:06d}.jpg" for number in range(count)]
    for name in names:
        coarse = generator.integers(0, 255, (JPEG[0] // 8, JPEG[1] // 8, 3), np.uint8)
        Image.fromarray(coarse).resize((JPEG[1], JPEG[0])).save(folder / name)
    files = ImageFiles(folder, names, preprocessing=Preprocessing(height=height, width=width))
    path = folder / "images.h5"
    with Silent().task("pack", count) as task:
        write_packed(path, BatchLoader(files), task=task)
    return files, PackedFile(path).images(names)
