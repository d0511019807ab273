"""What an evaluation takes for granted of its labels, as sentences for every result."""

import re

import numpy as np

from ..embeddings import Embeddings
from ..ranking.matches import Matches
from ..ranking.rules import MARKET1501, Rules

ROUNDING = 1e-4  # of an embedding's length: a network's in another batch, and no other picture
MOST_ALIKE = 10_000  # gallery items compared with a query; more are near only where all are
NUMBER = re.compile(r"[0-9]{7}")  # the name that `Embeddings` gives a row without one


def assumptions(query: Embeddings, gallery: Embeddings, *, rules: Rules = MARKET1501) -> list[str]:
    """Return a sentence for each thing that makes the figures other than they seem."""
    cameras = any("camid" in skip.same for skip in rules.skips)
    return [
        *(_cameras(query, gallery) if cameras else []),
        *([] if rules.skips_itself else _queries_in_the_gallery(query, gallery, rules=rules)),
    ]


def _cameras(query: Embeddings, gallery: Embeddings) -> list[str]:
    if not query.has_cameras or not gallery.has_cameras:
        return ["no cameras are known: items of the query's own camera count too"]
    unknown = [int((items.camids < 0).sum()) for items in (query, gallery)]
    if not any(unknown):
        return []
    return [
        f"the camera is unknown for {unknown[0]:,} of {len(query):,} queries and {unknown[1]:,} of "
        f"{len(gallery):,} gallery items: for those, items of the query's own camera count too"
    ]


def _queries_in_the_gallery(query: Embeddings, gallery: Embeddings, *, rules: Rules) -> list[str]:
    """Tell of queries that find themselves: the same name or the same numbers, and not skipped."""
    same = same_items(query, gallery)
    pairs = Matches(query, gallery, rules=rules)
    found = {row for row, item in same if item not in pairs.of(row)[1]}
    if not found:
        return []
    first = query.names[min(found)]
    return [
        f"{len(found):,} of {len(query):,} queries stand in the gallery too ({first}…): each finds "
        "itself first, which flatters every figure; take them out of the gallery"
    ]


def same_items(query: Embeddings, gallery: Embeddings) -> list[tuple[int, int]]:
    """Return pairs of a query and a gallery row that are one item, by name or by its numbers."""
    # Items without names are numbered by their rows, in every split anew: that names nobody.
    by_name = {name: row for row, name in enumerate(gallery.names) if not NUMBER.fullmatch(name)}
    found = [(row, by_name[name]) for row, name in enumerate(query.names) if name in by_name]
    return found if query.dim != gallery.dim else found + _alike(query.features, gallery.features)


def _alike(queries: np.ndarray, items: np.ndarray) -> list[tuple[int, int]]:
    """Return the rows of [Q, d] and [N, d] that are one but for rounding: of the same picture.

    Rows this near are near in every projection, so that a few of these sort out nearly all pairs.
    """
    directions = np.random.default_rng(0).normal(size=(items.shape[1], 8)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    marks, wanted = ((rows @ directions) / _lengths(rows) for rows in (items, queries))
    order = np.argsort(marks[:, 0], kind="stable")
    first = np.searchsorted(marks[order, 0], wanted[:, 0] - ROUNDING)
    last = np.searchsorted(marks[order, 0], wanted[:, 0] + ROUNDING)
    found = []
    for row, (begin, end) in enumerate(zip(first, last, strict=True)):
        near = order[begin : min(end, begin + MOST_ALIKE)]
        near = near[(np.abs(marks[near] - wanted[row]) <= ROUNDING).all(axis=1)]
        one = queries[row] / _lengths(queries[row : row + 1])[0]
        apart = np.linalg.norm(items[near] / _lengths(items[near]) - one, axis=1)
        found += [(row, int(item)) for item in near[apart <= ROUNDING]]
    return found


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,nd->n", rows, rows)).clip(1e-30)[:, None]
