"""`Entry`: what the catalogue knows of a data set."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..embeddings import SPLITS
from .folders import child, scan
from .samples import Dataset, SplitCounts

ANY = -1  # a number that is not published
MARKET1501 = "market1501"


@dataclass(frozen=True)
class Entry:
    """One data set of the catalogue.

    read:     takes the root and the entry's own options.
    counts:   published, by split; of the test set that is read where none is named.
    variants: what other test sets have otherwise, by `--variant`.   source: where all of them are
              published.
    rules:    whom its users compare with whom: a name of ranking's rules.
    marks:    sets of entries of a folder, each of which shows the layout; empty: none does.
    looks:    what else must be true of such a folder.
    unpacks:  whether reading may take images out of an archive, which takes a while.
    """

    name: str
    title: str
    read: Callable[..., Dataset]
    url: str = ""
    licence: str = ""
    state: str = ""
    counts: Mapping[str, SplitCounts] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, SplitCounts]] = field(default_factory=dict)
    source: str = ""
    options: tuple[str, ...] = ()
    rules: str = MARKET1501
    marks: tuple[tuple[str, ...], ...] = ()
    looks: Callable[[Path], bool] | None = None
    unpacks: bool = False

    def is_laid_out_in(self, folder: Path) -> bool:
        """Return whether a folder has this layout's marks."""
        marked = any(all(child(folder, one) for one in marks) for marks in self.marks)
        return marked and (self.looks is None or self.looks(folder))

    def published(self, options: Mapping[str, Any]) -> Mapping[str, SplitCounts]:
        """Return the published counts by split of what is read with such options."""
        return {**self.counts, **self.variants.get(str(options.get("variant")), {})}


def counts(*splits: tuple[int, int, int] | None) -> dict[str, SplitCounts]:
    """Return images, identities and cameras of train, query and gallery; None: not published."""
    pairs = zip(SPLITS, splits, strict=False)
    return {name: SplitCounts(*one) for name, one in pairs if one is not None}


def names_in(place: str, pattern: str) -> Callable[[Path], bool]:
    """Return what tells whether names in a folder's entry `place` begin as a pattern says."""

    def looks(folder: Path) -> bool:
        inner = child(folder, place)
        names = [one.name for one in scan(inner)][:100] if inner and inner.is_dir() else []
        return any(re.match(pattern, name) for name in names)

    return looks
