"""Approximate indexes of FAISS: how each is built, and with which settings.

Every builder takes the FAISS module, the rows [N, d] to search in, k and the device, and returns an
index and a description of its settings. FAISS seeds its k-means: the same rows, the same index.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import BadInput
from .checked import unit_rows


def list_count(rows: int) -> int:
    """Return how many inverted lists suit so many rows."""
    return max(1, min(int(4 * np.sqrt(rows)), rows // 39))  # FAISS wants 39 points a centroid


def ivf(faiss: Any, others: np.ndarray, *, k: int, where: str) -> tuple[Any, str]:
    """Inverted lists over k-means centres; the lists of the nearest centres are looked through."""
    lists = list_count(len(others))
    width, product = others.shape[1], faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, product)
    index = to_gpu(faiss, index, where=where)
    index.train(others)
    index.add(others)
    index.nprobe = min(lists, 32)
    return index, f" ({lists} lists, {index.nprobe} probed)"


def hnsw(faiss: Any, others: np.ndarray, *, k: int, where: str) -> tuple[Any, str]:
    """A navigable graph of several levels (Malkov and Yashunin, 2018); no training."""
    index = faiss.IndexHNSWFlat(others.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 80
    index.hnsw.efSearch = max(64, 2 * k)
    index.add(others)
    return index, f" (32 links, {index.hnsw.efSearch} candidates)"


def ivfpq(faiss: Any, others: np.ndarray, *, k: int, where: str) -> tuple[Any, str]:
    """Inverted lists of product-quantised rows, a quarter byte a dimension, decided by the rows."""
    width, lists = others.shape[1], list_count(len(others))
    codes = max(part for part in range(1, max(1, width // 4) + 1) if width % part == 0)
    bits = 8 if len(others) >= 39 * 256 else 4
    inner = faiss.IndexIVFPQ(
        faiss.IndexFlatIP(width), width, lists, codes, bits, faiss.METRIC_INNER_PRODUCT
    )
    inner.nprobe = min(lists, 32)
    index = faiss.IndexRefineFlat(inner)  # the best 4 k by code are decided by the rows themselves
    index.k_factor = 4
    index.train(others)
    index.add(others)
    return index, f" ({lists} lists, {inner.nprobe} probed, {codes} bytes a row)"


def cagra(faiss: Any, others: np.ndarray, *, k: int, where: str) -> tuple[Any, str]:
    """A graph built and searched on a GPU (cuVS)."""
    if not hasattr(faiss, "GpuIndexCagra") or not where.startswith("cuda"):
        raise BadInput(
            "search method 'cagra' needs a CUDA device and a FAISS built with cuVS (faiss-gpu-cuvs "
            "from conda); use ivf or hnsw"
        )
    config = faiss.GpuIndexCagraConfig()
    config.device = gpu_number(where)
    index = faiss.GpuIndexCagra(
        faiss.StandardGpuResources(), others.shape[1], faiss.METRIC_INNER_PRODUCT, config
    )
    index.train(others)
    return index, ""


def numbered(faiss: Any, blocks: Iterable[np.ndarray], *, width: int) -> np.ndarray:
    """Return an exact index of rows under their numbers from 0, as FAISS writes it: bytes [B].

    blocks: [N, width] float32 in parts; scaled to length 1, so that inner products are cosines.
    """
    index, start = faiss.IndexIDMap2(faiss.IndexFlatIP(width)), 0
    for block in blocks:
        rows = unit_rows(block, "the embeddings")
        index.add_with_ids(rows, np.arange(start, start + len(rows)))
        start += len(rows)
    found: np.ndarray = faiss.serialize_index(index)
    return found


def gpu_number(where: str) -> int:
    """Return 1 for cuda:1, 0 for cuda."""
    return int(where.partition(":")[2] or 0)


def to_gpu(faiss: Any, index: Any, *, where: str) -> Any:
    """Return an index on the GPU, its rows in half precision; as it is elsewhere."""
    if not where.startswith("cuda"):
        return index
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True  # half the memory; the lists' order is that of the rounded rows
    device = gpu_number(where)
    return faiss.index_cputo_gpu(faiss.StandardGpuResources(), device, index, options)


BUILDERS: dict[str, Callable[..., tuple[Any, str]]] = {
    "ivf": ivf,
    "hnsw": hnsw,
    "ivfpq": ivfpq,
    "cagra": cagra,
}
