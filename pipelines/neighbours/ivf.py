"""Approximate search in NumPy by inverted lists: only the nearest centres' lists are searched.

As FAISS's inverted files do, but a list is multiplied with all the rows that look through it in one
matrix product, in bfloat16 where cores have it. How many lists a row looks through is measured on a
sample that is searched exactly; among what is found float32 decides.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from scipy import sparse

from ..device import native_bfloat16
from ..embeddings import row_blocks
from ..progress import Progress, Silent
from ..seeding import numpy_generator
from .candidates import CandidateLists
from .exact import decide, in_threads, lower_bounds, top_k

SHARE = 0.93  # of the sample's true neighbours that the lists looked through must hold
SAMPLE_ROWS = 500
PROBED_ROWS = 1 << 16  # rows whose nearest centres are found at once
TILE = 1 << 22  # products held at once
ROW_MULTIPLE, COLUMN_MULTIPLE = 1024, 32  # of a product's shape
Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Rows(Protocol):
    """Rows [N, d] float32 that are read by their numbers, wherever they lie."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """[M] int64 -> [M, d]."""

    def __len__(self) -> int:
        """N."""


def top_k_in_lists(
    rows: np.ndarray, others: np.ndarray, *, k: int, centres: np.ndarray, progress: Progress
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return nearly the k largest inner products of each unit row [Q, d] with the others [G, d].

    centres: [C, d].   returns: similarity and index [Q, k], as `top_k`, and how it was done. Rows
    that find fewer than k are searched in full.
    """
    candidates, probes = candidates_of(rows, others, k=k, centres=centres, progress=progress)
    similarity, index = decide(rows, others, candidates=candidates, k=k)
    short = np.flatnonzero(candidates[:, k - 1] < 0)
    if len(short):
        similarity[short], index[short] = top_k(rows[short], others, k=k)
    return similarity, index, f" ({len(centres)} lists, {probes} looked through)"


def candidates_of(
    rows: np.ndarray, others: np.ndarray, *, k: int, centres: np.ndarray, progress: Progress
) -> tuple[np.ndarray, int]:
    """Return the best of each row by rounded products, half as many again as k, -1 where fewer.

    returns: [Q, S] int64, best first, and how many lists each row looked through.
    """
    list_of = nearest_centres(others, centres, count=1)[:, 0]  # [G]
    sample = sampled(rows)
    true = top_k(sample, others, k=k)[1]
    probes = lists_needed(sample, true, centres=centres, list_of=list_of)
    members = in_lists(list_of[:, None], len(centres))
    near = nearest_centres(rows, centres, count=probes)
    found = CandidateLists(candidates_kept(k, len(others)), len(rows), wanted=k)
    look_through(
        found, near, members=members, product=rounded_product(rows, others), progress=progress
    )
    return found.best()[1], probes


def candidates_kept(k: int, columns: int) -> int:
    """Return how many candidates are kept of each row: rounding may put the k best behind them."""
    return min(k + k // 2 + 12, columns)


def look_through(
    found: CandidateLists,
    near: np.ndarray,
    *,
    members: Sequence[np.ndarray],
    product: Product,
    progress: Progress = Silent(),
) -> None:
    """Offer each row the products with all that the lists near it hold.

    near: [N, probes], each row's lists, the nearest first.   members: of each list, row numbers.
    """
    homes, askers = in_lists(near[:, :1], len(members)), in_lists(near, len(members))
    for at_home, inside in zip(homes, members, strict=True):
        bound(found, at_home, inside=inside, product=product)
    with progress.task("neighbours", len(members), unit="lists") as task:
        for asking, inside in zip(askers, members, strict=True):
            offer_list(found, asking, inside=inside, product=product)
            task.advance()


def nearest_centres(rows: np.ndarray, centres: np.ndarray, *, count: int) -> np.ndarray:
    """Return the lists of the centres nearest to each row: [N, count] int32, nearest first."""
    near = np.empty((len(rows), count), np.int32)
    for part in row_blocks(len(rows), PROBED_ROWS):
        near[part] = top_k(rows[part], centres, k=count)[1]
    return near


def sampled(rows: np.ndarray | Rows) -> np.ndarray:
    """Return the rows of a sample whose true neighbours say how many lists are needed."""
    count = min(SAMPLE_ROWS, len(rows))
    return rows[numpy_generator(0, "lists").choice(len(rows), count, replace=False)]


def lists_needed(
    sample: np.ndarray,
    true: np.ndarray,
    *,
    centres: np.ndarray,
    list_of: np.ndarray,
    share: float = SHARE,
) -> int:
    """Return how many lists a row must look through to find its neighbours, by a sample.

    sample: [S, d].   true: [S, k], its true neighbours.   list_of: [G], each row's list.
    share:  of the neighbours of all rows together.
    """
    rank = np.argsort(nearest_centres(sample, centres, count=len(centres)), axis=1)  # [S, C]
    needed = np.sort(np.take_along_axis(rank, list_of[true], axis=1), axis=None)
    return 1 + int(needed[int(np.ceil(share * len(needed))) - 1])


def in_lists(near: np.ndarray, lists: int) -> list[np.ndarray]:
    """Return the rows of each list, ascending, from the lists of each row, [N, n] int32."""
    rows, width = near.shape
    ends = np.arange(0, rows * width + 1, width)
    table = sparse.csr_matrix(
        (np.ones(near.size, np.int8), near.ravel(), ends), shape=(rows, lists)
    ).tocsc()
    return np.split(table.indices, table.indptr[1:-1])


def rounded_product(rows: np.ndarray, others: np.ndarray | Rows) -> Product:
    """Return a function from row numbers [a] and [b] to their inner products [a, b], rounded."""
    if not native_bfloat16():
        return lambda asking, inside: rows[asking] @ others[inside].T
    import torch

    left = torch.from_numpy(rows).bfloat16()
    right = left if others is rows else None
    if right is None and isinstance(others, np.ndarray):
        right = torch.from_numpy(others).bfloat16()

    def product(asking: np.ndarray, inside: np.ndarray) -> np.ndarray:
        near = left.index_select(0, torch.from_numpy(filled(asking, ROW_MULTIPLE)))
        columns = filled(inside, COLUMN_MULTIPLE)
        if right is not None:
            far = right.index_select(0, torch.from_numpy(columns))
        else:
            far = torch.from_numpy(others[columns]).bfloat16()
        found = (near @ far.T)[: len(asking), : len(inside)]
        return found.float().contiguous().numpy()

    return product


def filled(index: np.ndarray, multiple: int) -> np.ndarray:
    """Return row numbers with the last one repeated up to a multiple.

    oneDNN compiles a program for each shape of a product, and keeps a thousand of them: the shapes
    must be few.
    """
    return np.pad(index, (0, -len(index) % multiple), mode="edge") if len(index) else index


def bound(
    found: CandidateLists, at_home: np.ndarray, *, inside: np.ndarray, product: Product
) -> None:
    """Bound what enters the rows' lists by what the list of their own centre holds."""
    if len(inside) < found.wanted:
        return
    for part in row_blocks(len(at_home), max(1, TILE // len(inside))):
        found.bound[at_home[part]] = lower_bounds(product(at_home[part], inside), found.wanted)


def offer_list(
    found: CandidateLists, asking: np.ndarray, *, inside: np.ndarray, product: Product
) -> None:
    """Offer the products of the rows `asking` with those `inside` a list to the former."""
    for part in row_blocks(len(asking), max(1, TILE // max(1, len(inside)))):
        who = asking[part]
        products, least = product(who, inside), found.bound[who]
        work = partial(reaching_bound, products=products, least=least)
        flat = np.concatenate(in_threads(work, len(products)))
        i, j = np.divmod(flat, len(inside))
        found.add(who[i], inside[j], value=products.ravel()[flat])


def reaching_bound(part: slice, *, products: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return the flat positions of products [a, b] in some rows that reach the rows' bounds."""
    return np.flatnonzero(products[part] >= least[part, None]) + part.start * products.shape[1]
