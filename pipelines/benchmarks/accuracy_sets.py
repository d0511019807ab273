"""The sets of the accuracy benchmark: drawn ones, embedding files, and embeddings of runs."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from ..artifacts.embeddings import (
    load_embeddings,
    open_embeddings,
    saw_training_identities,
    splits_in,
)
from ..artifacts.run import Run
from ..embeddings import SPLITS, Embeddings
from ..errors import BadInput
from ..stages.import_embeddings import import_embeddings
from .people import SETS, draw_people

QUICK = ("eight images, width 128",)
ANOTHER_WORLD = 1000  # added to a seed: other directions, cameras and poses
TWO_KINDS = "trained_on_"  # begins the name of a file whose test set is foreign to its training set


@dataclass(frozen=True, eq=False)
class Case:
    """One set: its name, embeddings, and the seed it was drawn with.

    foreign: its test set is of another kind than its training set.
    seen:    whether the network was trained on the training identities.
    """

    name: str
    train: Embeddings
    query: Embeddings
    gallery: Embeddings
    seed: int = 0
    foreign: bool = False
    seen: bool = False

    @cached_property
    def folder(self) -> str:
        """A name for its folder that no other case has, nor the same set with other content."""
        letters = "".join(letter if letter.isalnum() else "-" for letter in self.name)
        digest = sha256(f"{self.name} {self.foreign} {self.seen}".encode())
        for part in (self.train, self.query, self.gallery):
            for array in (part.features, part.pids, part.camids):
                digest.update(np.ascontiguousarray(array).tobytes())
        return f"{letters[:50]}-{self.seed}-{digest.hexdigest()[:8]}"


def drawn_cases(*, quick: bool, seeds: int) -> Iterator[Case]:
    """Yield the drawn sets, each of `seeds` seeds."""
    for name, people in SETS.items():
        if not quick or name in QUICK:
            for seed in range(seeds):
                yield Case(name, *draw_people(people, seed=seed), seed=seed)


def given_cases(given: Sequence[str]) -> Iterator[Case]:
    """Yield the embedding files of folders, and the embeddings of runs.

    Raises:
        BadInput: a folder that holds neither, or a run that lacks a split.
    """
    for folder in given:
        if (Path(folder) / "embeddings.h5").exists():
            yield _of_run(Run(folder))
            continue
        files = sorted(path for path in Path(folder).glob("*") if path.suffix in (".npz", ".h5"))
        if not files:
            raise BadInput(f"--sets {folder}: no .npz, .h5 or embeddings.h5 in it")
        yield from map(_of_file, files)


def elsewhere(cases: Sequence[Case], *, quick: bool) -> Iterator[Case]:
    """Yield sets to test on what was trained on others: drawn ones of other worlds, and given ones.

    Of a drawn set the seed is another than any of training's. Not those of two kinds: the test set
    may be the own one of another given set.
    """
    for name, people in SETS.items():
        if not quick or name in QUICK:
            yield Case(name, *draw_people(people, seed=ANOTHER_WORLD), seed=ANOTHER_WORLD)
    yield from (case for case in cases if case.name not in SETS and not case.foreign)


def _of_file(path: Path) -> Case:
    with tempfile.TemporaryDirectory(prefix="nformer-accuracy-") as folder:
        run = Run(folder)
        import_embeddings(run, [path])
        return _case(path.stem, run, foreign=path.name.startswith(TWO_KINDS))


def _of_run(run: Run) -> Case:
    return _case(run.folder.resolve().name, run, foreign=False)


def _case(name: str, run: Run, *, foreign: bool) -> Case:
    path = run.artifact("embeddings.h5")
    with open_embeddings(path) as file:
        missing = [split for split in SPLITS if split not in splits_in(file)]
    if missing:
        raise BadInput(f"{name}: no {', '.join(missing)} split; a set needs {', '.join(SPLITS)}")
    train, query, gallery = (load_embeddings(path, split).without_junk() for split in SPLITS)
    seen = saw_training_identities(run)
    return Case(name, train, query, gallery, foreign=foreign, seen=seen)
