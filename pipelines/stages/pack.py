"""the data set's images -> images.h5, decoded and resized"""

from pathlib import Path
from typing import Any

from ..artifacts.manifest import Manifest
from ..artifacts.run import Run, writing_stage
from ..config import PackConfig, as_table
from ..data.batches import BatchLoader
from ..data.catalogue import open_dataset
from ..data.images import ImageFiles
from ..data.packed import write_packed
from ..data.samples import Dataset
from ..extraction.sources import PACKED, dataset_facts, naming_check_of, skipped_text, tell
from ..preprocessing import Preprocessing
from ..progress import Progress, Silent

EXECUTION_ONLY = ("workers",)


@writing_stage
def pack(
    run: Run,
    dataset: str | Dataset,
    *,
    root: str | Path,
    config: PackConfig = PackConfig(),
    overwrite: bool = False,
    progress: Progress = Silent(),
    options: dict[str, Any] | None = None,
) -> Path:
    """Decode and resize every image once; return the path of images.h5.

    Training and extraction in the same run read it instead of the files while the list of files
    (names, labels, sizes) and the image size are those that it was made from.
    """
    data = open_dataset(dataset, root, options=options, progress=progress)
    wanted = Manifest(
        PACKED,
        "pack",
        {key: value for key, value in as_table(config).items() if key not in EXECUTION_ONLY},
        {"image list": data.digest()},
        facts=dataset_facts(data),
    )
    if run.is_current(wanted, overwrite=overwrite):
        progress.message(f"{run.path(PACKED)} is up to date")
        return run.path(PACKED)
    tell(data, progress)
    samples = [sample for split in data.filled_splits() for sample in data.images(split)]
    names = list(dict.fromkeys(sample.name for sample in samples))  # an image may be in two splits
    size = Preprocessing(height=config.height, width=config.width)
    source = ImageFiles(data.root, names, preprocessing=size)
    loader = BatchLoader(source, workers=config.workers, on_bad_image=config.on_bad_image)
    with (
        naming_check_of(data),
        run.writing(wanted) as (path, facts),
        progress.task("pack", len(source.names), unit="images") as task,
    ):
        skipped = write_packed(path, loader, task=task)
        facts.update(skipped=skipped)
    if skipped:
        progress.warn(skipped_text(skipped))
    return run.path(PACKED)
