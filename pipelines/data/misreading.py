"""Is what was read of one's own pictures believable, or are names read at the wrong place?"""

from collections.abc import Sequence

from .name_patterns import usual_pattern
from .samples import NO_CAMERA, Dataset, Sample

FEWEST = 8  # images below which any labels may be meant
MANY = 8  # cameras that may see any number of identities
OWN = ("folder", "csv")  # the readers that are told where labels stand


def misreading(dataset: Dataset) -> list[str]:
    """Return a sentence where labels can hardly be meant: what was understood, and what to change.

    That is one identity, as many identities as images, a camera for every second image, or more
    than two cameras for an identity where they are many.
    """
    samples = [one for split in dataset.filled_splits() for one in dataset.images(split)]
    if dataset.name not in OWN or len(samples) < FEWEST:
        return []
    images, people = len({one.name for one in samples}), len({one.pid for one in samples})
    cameras = len({sample.camid for sample in samples} - {NO_CAMERA})
    if 1 < people < images and 2 * cameras <= images and cameras <= max(MANY, 2 * people):
        return []
    read = "one identity" if people == 1 else f"{people:,} identities"
    read += f" and {cameras:,} cameras" if cameras > 1 else ""
    return [
        f"{images:,} images are read as of {read}: {_example(dataset, samples[0])}. This is hardly "
        f"meant; {_remedy(dataset, samples)}"
    ]


def _example(dataset: Dataset, sample: Sample) -> str:
    """Return what was understood of one image."""
    labels, known = dataset.labels, sample.camid != NO_CAMERA
    camera = f", camera {labels.camera(sample.camid)!r}" if known else ""
    return f"{sample.name} is identity {labels.person(sample.pid)!r}{camera}"


def _remedy(dataset: Dataset, samples: Sequence[Sample]) -> str:
    """Return which option to change, with a pattern that fits the names where one is known."""
    given = dataset.options
    if "table" in given and "pattern" not in given:
        return "say which column is which: --columns path=…,pid=…,camid=…"
    usual = usual_pattern([sample.name for sample in samples])
    better = usual if usual and usual != given.get("pattern") else None
    if "pattern" in given:
        return f"change --pattern {given['pattern']}" + (
            f", perhaps to '{better}'" if better else ""
        )
    if "camera_pattern" in given:
        return f"change --camera-pattern {given['camera_pattern']}"
    return f"say where names hold them: --pattern '{better or '{pid}_c{camid}_*'}'"
