"""Draw a small data set, run the four stages on it as on real data, and return the table."""

from pathlib import Path
from typing import Any

from ..artifacts.results import Evaluation
from ..artifacts.run import Run, writing_stage
from ..data.synthetic.dataset import RECORD, remove_drawn, write_synthetic
from ..progress import Progress, Silent
from ..settings import configure
from .evaluate import evaluate
from .extract import extract
from .train_backbone import train_backbone
from .train_nformer import train_nformer

RECIPE = "demo"
DATASET = "synthetic"  # its name in the catalogue
IMAGES = "images"  # the data set's folder, inside the run's


@writing_stage
def demo(
    run: Run,
    *,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Evaluation:
    """Draw a small data set, then train, extract, train NFormer and evaluate on it.

    Nothing is downloaded. Whatever is in the run's folder already and up to date is kept, so a
    demo that was interrupted goes on.

    Raises:
        BadInput: the run's folder holds other images.
        StaleArtifact: it holds artifacts made from something else, and `overwrite` is not given.
    """
    images = run.path(IMAGES)
    if overwrite or not (images / RECORD).exists():
        run.claim()
    if overwrite:
        remove_drawn(images)
    write_synthetic(images, seed=seed, progress=progress)
    progress.message(f"drawn people under drawn cameras, in Market-1501's layout: {images}")
    common: dict[str, Any] = {"device": device, "overwrite": overwrite, "progress": progress}
    seeded: dict[str, Any] = {"recipe": RECIPE, "options": {"seed": seed}}
    train_backbone(run, DATASET, root=images, config=configure("backbone", **seeded), **common)
    extract(run, config=configure("extract", recipe=RECIPE), **common)
    train_nformer(run, config=configure("nformer", **seeded), **common)
    return evaluate(run, config=configure("evaluate", **seeded), **common)


def demo_images(
    folder: Path, *, seed: int = 0, overwrite: bool = False, progress: Progress = Silent()
) -> Path:
    """Write just the demo's data set to `folder`."""
    if overwrite:
        remove_drawn(folder)
    return write_synthetic(folder, seed=seed, progress=progress)
