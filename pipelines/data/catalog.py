"""The data sets that have a reader: what each is, where to get it, and its published counts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..embeddings import SPLITS
from ..errors import BadInput
from .dataset import Dataset, SplitCounts
from .market1501 import read_market1501
from .synthetic import read_synthetic


@dataclass(frozen=True)
class Entry:
    """One data set of the catalogue. `read` takes the root and the entry's own options."""

    name: str
    title: str
    read: Callable[..., Dataset]
    url: str = ""
    licence: str = ""
    state: str = ""
    counts: Mapping[str, SplitCounts] = field(default_factory=dict)
    source: str = ""  # where the counts are published
    options: tuple[str, ...] = ()


ENTRIES = (
    Entry(
        name="market1501",
        title="Market-1501",
        read=read_market1501,
        url="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
        licence="none stated; research use",
        state="available",
        counts={
            "train": SplitCounts(12936, 751, 6),
            "query": SplitCounts(3368, 750, 6),
            "gallery": SplitCounts(15913, 750, 6),
        },
        source="Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015",
    ),
    Entry(
        name="synthetic",
        title="Drawn people",
        read=read_synthetic,
        licence="MIT, as this program",
        state="drawn by nformer demo",
    ),
)


def entry(name: str) -> Entry:
    """Return the catalogue's entry for a data set, whatever the case of its name.

    Raises:
        BadInput: the catalogue has no such data set; lists those it has.
    """
    wanted = name.lower().replace("_", "-")
    for known in ENTRIES:
        if wanted == known.name:
            return known
    raise BadInput(
        f"{name!r} is no data set known here; known are {', '.join(e.name for e in ENTRIES)}"
    )


def open_dataset(name: str, root: str | Path, options: Mapping[str, Any] | None = None) -> Dataset:
    """Read the data set `name` below `root`; no image is opened.

    Raises:
        BadInput: an unknown name or option, or files that are not as they should be.
    """
    known = entry(name)
    given = {key: value for key, value in (options or {}).items() if value not in (None, False)}
    strange = sorted(set(given) - set(known.options))
    if strange:
        raise BadInput(f"{known.name} has no option {strange[0]!r}")
    return known.read(Path(root).expanduser(), **given)


def count_differences(dataset: Dataset) -> list[str]:
    """Return a sentence for each split whose counts are not the published ones."""
    known = entry(dataset.name)
    found = []
    for split in SPLITS:
        published = known.counts.get(split)
        counts = dataset.counts(split)
        if published is None or counts == published or dataset.options:
            continue
        found.append(
            f"{known.title}, {split}: {counts.images} images of {counts.identities} identities in "
            f"{counts.cameras} cameras; published are {published.images}, {published.identities} "
            f"and {published.cameras} ({known.source})"
        )
    return found
