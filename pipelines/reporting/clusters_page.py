"""clusters.html: the pictures of each identity that was found, doubtful ones first."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts.cluster_files import Members
from ..data.images import UnreadableImage, is_there, read_item
from ..files import write_text
from .page import data_uri, not_there, script, template

PICTURES = 3000  # on a page at most: it stays below 15 MB
EACH = 24  # of one identity
ALONE = 300  # identities of one picture


@dataclass(frozen=True)
class Shown:
    """One row on the page.   picture: a data URI, "" where there is none."""

    row: int
    name: str
    identity: int
    confidence: float
    nearest: int
    representative: bool
    picture: str


@dataclass(frozen=True)
class Group:
    """An identity of several rows: its least sure members, and the nearest other identity.

    confidence: the mean over its rows.   distance: the least of its rows' to `nearest`.
    other:      the representative of `nearest`.
    """

    identity: int
    rows: int
    confidence: float
    confirmed: bool
    members: Sequence[Shown]
    nearest: int
    distance: float
    other: Shown | None


@dataclass(frozen=True)
class ClustersPage:
    """Everything that the page tells.

    label:   the name or number of an identity.   unshown: identities of several rows that it has
             no pictures of.
    table:   every row, as the script needs it to write clusters.csv anew.
    script, script_hash: what changes the page, and how the page says that nothing else may.
    """

    rows: int
    identities: int
    lines: Sequence[str]
    csv: str
    command: str
    groups: Sequence[Group]
    unshown: int
    alone: Sequence[Shown]
    alone_count: int
    label: Callable[[int], str]
    table: dict[str, Any]
    script: str
    script_hash: str

    @property
    def from_downloads(self) -> str:
        """How a table is read back that a browser has saved; `command` reads the run's own."""
        words = shlex.split(self.command)
        words[words.index("--edited") + 1] = "SAVED"  # in quotes, ~ would be no home
        return shlex.join(words).replace("SAVED", f"~/Downloads/{self.csv}", 1)


def write_clusters_page(
    path: Path,
    members: Members,
    *,
    folders: Sequence[str],
    lines: Sequence[str],
    csv: str,
    command: str,
) -> str:
    """Write the page; return how many of its pictures are not where they should be, "" if none.

    folders: that the rows' names start from, as for `read_item`.   lines: what the page says first.
    csv, command: the table to edit, and how it is read back.
    """
    album = _Album(members, folders)
    ends = _ends(members.identity)
    order = np.lexsort((members.confidence, members.identity))  # of each identity, unsure first
    groups: list[Group] = []
    several = [part for part in np.split(order, ends) if len(part) > 1]
    several.sort(key=lambda part: (float(members.confidence[part[0]]), int(part[0])))
    for part in several:
        if album.count >= PICTURES - ALONE:
            break
        groups.append(_group(part, members, album=album))
    single = np.array([part[0] for part in np.split(order, ends) if len(part) == 1], np.int64)
    single = single[np.argsort(members.confidence[single], kind="stable")]
    text, digest = script("clusters.js")
    page = ClustersPage(
        rows=len(members.names),
        identities=int(members.identity.max(initial=-1)) + 1,
        lines=lines,
        csv=csv,
        command=command,
        groups=groups,
        unshown=len(several) - len(groups),
        alone=[album.shown(row) for row in single[:ALONE].tolist()],
        alone_count=len(single),
        label=members.label,
        table={
            "names": [*members.names],
            "cluster": members.identity.tolist(),
            "called": dict(members.called),
            "confirmed": np.flatnonzero(members.confirmed).tolist(),
        },
        script=text,
        script_hash=digest,
    )
    write_text(path, template("clusters.html.j2").render(page=page) + "\n")
    return album.missing()


def _ends(labels: np.ndarray) -> np.ndarray:
    """Return where each label but the last ends in sorted order."""
    ends: np.ndarray = np.cumsum(np.bincount(labels))[:-1]
    return ends


def _group(part: np.ndarray, members: Members, *, album: "_Album") -> Group:
    """Return an identity by its rows, the least sure first."""
    shown = [album.shown(row) for row in part[:EACH].tolist()]
    medoid = int(part[np.argmax(members.representative[part])])
    if medoid not in part[:EACH]:
        shown.append(album.shown(medoid))
    known = part[members.nearest[part] >= 0]
    nearest, distance, other = -1, 0.0, None
    if len(known):
        row = int(known[np.argmin(members.distance[known])])
        nearest, distance = int(members.nearest[row]), float(members.distance[row])
        of_it = members.representative & (members.identity == nearest)
        other = album.shown(int(np.argmax(of_it)))
    return Group(
        identity=int(members.identity[part[0]]),
        rows=len(part),
        confidence=float(members.confidence[part].mean()),
        confirmed=bool(members.confirmed[part].all()),
        members=shown,
        nearest=nearest,
        distance=distance,
        other=other,
    )


class _Album:
    """The pictures of rows, counted."""

    def __init__(self, members: Members, folders: Sequence[str]) -> None:
        self.members, self.folders = members, list(folders)
        self.count = 0  # of pictures on the page, some of them twice
        self.asked: set[str] = set()
        self.lost: dict[str, None] = {}

    def shown(self, row: int) -> Shown:
        """Return a row with its picture, where that is at hand."""
        members, name = self.members, self.members.names[row]
        return Shown(
            row,
            name,
            int(members.identity[row]),
            float(members.confidence[row]),
            int(members.nearest[row]),
            bool(members.representative[row]),
            self._picture(name),
        )

    def missing(self) -> str:
        """Return how many pictures are not there; "" where all are, or none was to be shown."""
        if not any(self.folders):
            return ""
        return not_there([*self.lost], of=len(self.asked), root=self.folders[0])

    def _picture(self, name: str) -> str:
        self.count += 1
        self.asked.add(name)
        if not any(self.folders):
            return ""
        if not is_there(name, self.folders):
            self.lost[name] = None
            return ""
        try:
            return data_uri(read_item(name, self.folders))
        except UnreadableImage:
            self.lost[name] = None
            return ""
