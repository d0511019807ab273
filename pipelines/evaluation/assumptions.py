"""What an evaluation takes for granted of its labels, as sentences for every result."""

import re

import numpy as np

from ..embeddings import Embeddings

NUMBER = re.compile(r"[0-9]{7}")  # the name that `Embeddings` gives a row without one


def assumptions(query: Embeddings, gallery: Embeddings) -> list[str]:
    """Return a sentence for each thing that makes the figures other than they seem."""
    return [*_cameras(query, gallery), *_queries_in_the_gallery(query, gallery)]


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


def _queries_in_the_gallery(query: Embeddings, gallery: Embeddings) -> list[str]:
    """Tell of queries that find themselves: the same name or the same numbers, and not skipped."""
    same = same_items(query, gallery)
    found = {row for row, item in same if not _skipped(query, gallery, row=row, item=item)}
    if not found:
        return []
    first = query.names[min(found)]
    return [
        f"{len(found):,} of {len(query):,} queries stand in the gallery too ({first}…): each finds "
        "itself first, which flatters every figure; take them out of the gallery"
    ]


def same_items(query: Embeddings, gallery: Embeddings) -> list[tuple[int, int]]:
    """Return pairs of a query and a gallery row that are one item, by name or bit for bit."""
    # Items without names are numbered by their rows, in every split anew: that names nobody.
    by_name = {name: row for row, name in enumerate(gallery.names) if not NUMBER.fullmatch(name)}
    found = [(row, by_name[name]) for row, name in enumerate(query.names) if name in by_name]
    if query.dim != gallery.dim:
        return found
    likely = np.flatnonzero(np.isin(gallery.features[:, 0], query.features[:, 0]))
    by_content = {gallery.features[item].tobytes(): int(item) for item in likely}
    for row, features in enumerate(query.features):
        item = by_content.get(features.tobytes())
        if item is not None:
            found.append((row, item))
    return found


def _skipped(query: Embeddings, gallery: Embeddings, *, row: int, item: int) -> bool:
    """Return whether the protocol leaves this gallery item out: the query's person and camera."""
    return bool(
        query.pids[row] == gallery.pids[item]
        and query.camids[row] == gallery.camids[item]
        and query.camids[row] >= 0
    )
