"""NFormer's inference, training steps and new queries, against a dense implementation."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config import NFormerConfig
from ..gallery.refinement import refine_set
from ..gallery.states import refine_gallery, refine_queries
from ..nformer.landmarks import choose_landmarks
from ..nformer.model import NFormer
from ..progress import Progress
from ..seeding import numpy_generator, torch_generator
from ..training.losses import CenterLoss, identity_loss, triplet_loss
from ..training.precision import choose_precision
from .child import MemoryWatch, Timer, measured, private_memory
from .dense import dense_forward, dense_refine
from .record import Record

DIM, CLASSES, IMAGES = 256, 751, 18  # images of a person, on average
LATENT = 64  # numbers that a person is made of
MARKET, MSMT = 19_281, 93_820  # query and gallery of the two data sets
GROWTH = (5_000, 10_000, 20_000, 50_000, 100_000)
COLUMNS = ["", "dense", "here", "goal", "memory here", "goal", "equal within"]


def measure(*, quick: bool, progress: Progress) -> Record:
    """Measure all cases, each in a process of its own."""
    rows = []
    scale = 20 if quick else 1
    growth = [size // scale for size in GROWTH]
    half = choose_precision(NFormerConfig.amp, torch.device("cpu")) == "bf16"
    with progress.task("benchmark", 6 + len(growth), unit="measurements") as task:
        for size, dense, goals in (
            (MARKET // scale, True, ("≤ 2.5 s", "≤ 0.8 GB")),
            (MSMT // scale, False, ("≤ 40 s", "≤ 1.5 GB")),
        ):
            found = measured("nformer", "inference", rows=size, dense=dense)
            rows.append(_row(f"inference, N = {size:,}", found, goals=goals))
            task.advance()
        for size, goals in (
            (2048 // scale, ("≤ 0.5 s", "–")),
            (14_000 // scale, ("≤ 4 s", "≤ 2 GB")),
        ):
            if half:
                found = measured("nformer", "training", rows=size, dense=False, half=True)
                title = f"training step, N = {size:,}, linear layers in bfloat16"
                rows.append(_row(f"{title} (the default here)", found, goals=goals))
            found = measured("nformer", "training", rows=size, dense=True)
            rows.append(_row(f"training step, N = {size:,}, all in float32", found, goals=goals))
            task.advance(2)
        found = measured("nformer", "one_query", rows=MARKET // scale)
        title = f"one new query, refined gallery of {MARKET // scale:,}"
        rows.append(_row(title, found, goals=("≤ 20 ms", "–")))
        sizes = []
        for size in growth:
            sizes.append(measured("nformer", "inference", rows=size, dense=False)["private"])
            task.advance()
    notes = [
        _growth_note(growth, sizes),
        "\nMemory is the process's private memory at its peak, input and result included; a "
        "process that has only loaded PyTorch is shown as its start. *Equal within*: the largest "
        "difference of a number of the embeddings; for training steps, of a parameter's gradient, "
        "relative to its length. Seconds are the best of the runs after one that warms up, "
        "everything from the array given to the array returned.",
    ]
    return Record("NFormer without N×N", COLUMNS, rows, notes)


def _row(title: str, found: dict[str, float], *, goals: tuple[str, str]) -> list[str]:
    dense = "does not fit" if found.get("dense_too_large") else "–"
    if "dense" in found:
        dense = f"{_seconds(found['dense'])}, {found['dense_private'] / 1024:.1f} GB"
    return [
        title,
        dense,
        _seconds(found["seconds"]),
        goals[0],
        f"{found['private'] / 1024:.2f} GB (start {found['start'] / 1024:.2f})",
        goals[1],
        f"{found['difference']:.0e}" if "difference" in found else "–",
    ]


def _seconds(value: float) -> str:
    return f"{1000 * value:.1f} ms" if value < 0.1 else f"{value:.2f} s"


def _growth_note(sizes: list[int], memory: list[float]) -> str:
    slope, offset = np.polyfit(sizes, memory, 1)
    fitted = slope * np.array(sizes) + offset
    off = np.abs(fitted - memory).max()
    table = ", ".join(f"{size:,}: {mib:.0f}" for size, mib in zip(sizes, memory, strict=True))
    return (
        f"Memory grows linearly: {slope * 1024:.2f} KiB an embedding and {offset:.0f} MiB, within "
        f"{off:.0f} MiB of every point (MiB at N = {table})."
    )


def inference(*, rows: int, dense: bool, repeats: int = 3) -> dict[str, float]:
    """Refine a set, from the array given to the array returned."""
    features, model = crowd(rows), trained_like()
    refine_set(model, features[:64])
    start = private_memory()
    with MemoryWatch() as watch:
        timers = [Timer() for _ in range(repeats if rows < 50_000 else 1)]
        for timer in timers:
            with timer:
                refined = refine_set(model, features)
    found = {
        "seconds": min(timer.seconds for timer in timers),
        "private": watch.mib,
        "start": start,
    }
    if not dense:
        return found
    if not fits(rows, squares=3):
        return {**found, "dense_too_large": 1.0}
    with MemoryWatch() as watch, Timer() as timer:
        given = functional.normalize(torch.from_numpy(features))
        landmarks = choose_landmarks(given, layers=4, count=model.landmarks)
        expected = dense_refine(model, given, landmarks=landmarks).numpy()
    difference = float(np.abs(expected - refined).max())
    return {**found, "dense": timer.seconds, "dense_private": watch.mib, "difference": difference}


def training(*, rows: int, dense: bool, half: bool = False, repeats: int = 4) -> dict[str, float]:
    """Make training steps on one batch: forward, losses, backward, update.

    half: let the linear layers multiply in bfloat16.
    """
    features = functional.normalize(torch.from_numpy(crowd(rows)))
    labels = torch.arange(rows) % min(CLASSES, max(2, rows // IMAGES))
    found: dict[str, float] = {"start": private_memory()}
    landmarks = choose_landmarks(features, layers=4, count=5)
    model = _undropped(half=half)
    forward = partial(model, features, landmarks=landmarks)
    with MemoryWatch() as watch:
        found["seconds"], gradients = _steps(forward, model, labels=labels, repeats=repeats)
    found["private"] = watch.mib
    if not dense:
        return found
    if not fits(rows, squares=9):
        return {**found, "dense_too_large": 1.0}
    model, forward = _undropped(), partial(dense_forward, model, features, landmarks=landmarks)
    with MemoryWatch() as watch:
        times = repeats if rows < 5000 else 1
        found["dense"], expected = _steps(forward, model, labels=labels, repeats=times)
    found["dense_private"] = watch.mib
    found["difference"] = max(
        float((gradients[name] - wanted).norm() / wanted.norm())
        for name, wanted in expected.items()
        if float(wanted.norm()) > 0
    )
    return found


def _undropped(*, half: bool = False) -> NFormer:
    """Return a model in training without dropout, so that both ways have the same gradients."""
    model = trained_like().train()
    for block in model.layers():
        block.dropout.p = 0.0
    model.multiply_in_bfloat16(half)
    return model


def _steps(
    forward: Callable[[], tuple[Tensor, Tensor]], model: NFormer, *, labels: Tensor, repeats: int
) -> tuple[float, dict[str, Tensor]]:
    """Return the seconds of the quickest step, and the first one's gradients by name."""
    center = CenterLoss(CLASSES, DIM, generator=torch_generator(0, "centers"))
    optimizer = torch.optim.Adam([*model.parameters(), *center.parameters()], lr=1e-5)
    times: list[float] = []
    gradients: dict[str, Tensor] = {}
    for _ in range(repeats):
        with Timer() as timer:
            optimizer.zero_grad()
            logits, refined = forward()
            loss = identity_loss(logits, labels, smoothing=0.1)
            loss = loss + triplet_loss(refined, labels, margin=0.3)
            (loss + 5e-4 * center(refined, labels)).backward()
            optimizer.step()
        times.append(timer.seconds)
        gradients = gradients or {
            name: part.grad.clone()
            for name, part in model.named_parameters()
            if part.grad is not None
        }
    return min(times), gradients


def fits(rows: int, *, squares: int) -> bool:
    """Return whether so many [2, N, N] float32 fit in the memory that is free now."""
    facts = Path("/proc/meminfo")
    if not facts.exists():
        return True
    lines = (line for line in facts.read_text().splitlines() if line.startswith("MemAvailable"))
    return squares * 2 * 4 * rows**2 < 1024 * int(next(lines).split()[1])


def one_query(*, rows: int, repeats: int = 50) -> dict[str, float]:
    """Refine new queries, one at a time, against a refined gallery."""
    features = crowd(rows + repeats)
    start = private_memory()
    with MemoryWatch() as watch:
        state = refine_gallery(trained_like(), features[:rows])
        refine_queries(state, features[rows : rows + 1])
    times = []
    for number in range(rows, rows + repeats):  # unwatched: milliseconds feel the watching
        with Timer() as timer:
            refine_queries(state, features[number : number + 1])
        times.append(timer.seconds)
    return {"seconds": float(np.median(times)), "private": watch.mib, "start": start}


def trained_like() -> NFormer:
    """Return a model whose attention is clearly uneven, as after training."""
    model = NFormer(dim=DIM, classes=CLASSES)
    generator = torch_generator(0, "benchmark")
    with torch.no_grad():
        for block in model.layers():
            for part in (block.attention.query, block.attention.key):
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator) / DIM**0.5)
    return model.eval()


def crowd(rows: int) -> np.ndarray:
    """Return embeddings of people of about 18 images each, some harder to know than others.

    returns: [rows, DIM] float32, L2-normalised. At Market-1501's size they rank as a trained
    network's do: mAP 0.78, rank-1 0.95; 68 % of the neighbours are mutual.
    """
    random = numpy_generator(0, "crowd")
    people, scale = max(1, rows // IMAGES), np.arange(1, LATENT + 1, dtype=np.float32) ** -0.5
    scale /= np.sqrt((scale**2).mean())
    latent = scale * random.standard_normal((people, LATENT), np.float32)
    latent = latent[random.integers(people, size=rows)]
    noise = 0.7 * np.exp(0.4 * random.standard_normal((rows, 1), np.float32))
    latent += noise * random.standard_normal(latent.shape, np.float32)
    features = latent @ random.standard_normal((LATENT, DIM), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features
