"""Nearest neighbours by cosine: NumPy, torch or FAISS, exact or approximate, behind one call."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..device import choose_device, has_gpu_driver
from ..embeddings import Embeddings
from ..errors import BadInput
from ..progress import Progress, Silent
from ..seeding import numpy_generator
from .checked import check_widths, checked_k, in_order, like, own_first, unit_rows
from .exact import threads, top_k
from .faiss_indexes import BUILDERS, gpu_number, list_count
from .ivf import top_k_in_lists
from .self_join import self_join

EXACT = ("numpy", "torch", "faiss")
APPROXIMATE = ("ivf", "hnsw", "ivfpq", "cagra")
METHODS = ("auto", "exact", *EXACT, *APPROXIMATE)
GPU_LONGEST = 2048  # the longest list that FAISS returns on a GPU
EXACT_PAIRS = {"cpu": 4e10, "cuda": 4e12, "mps": 4e11}  # beyond them `auto` approximates
RECALL_SAMPLE = 500  # rows searched exactly to measure an approximate list
LIBRARY = {"hnsw": "FAISS", "ivfpq": "FAISS", "cagra": "FAISS", "faiss": "FAISS"}


@dataclass(frozen=True)
class Searched:
    """How a search was done.

    method: one of EXACT or APPROXIMATE. device: cpu, cuda:0… recall: the share of the true k
    nearest that were found, on a sample; 1 where the method is exact. detail: its settings.
    """

    method: str
    device: str
    recall: float = 1.0
    detail: str = ""

    def __str__(self) -> str:
        name = LIBRARY.get(self.method, {"numpy": "NumPy"}.get(self.method, self.method))
        if self.method in EXACT:
            return f"exact search, {name} on {self.device}{self.detail}"
        library = "" if name == self.method else f"{name} "
        return (
            f"approximate search, {library}{self.method}{self.detail} on {self.device}: "
            f"{self.recall:.3f} of the true neighbours found in a sample"
        )


def search(
    query: Any,
    gallery: Any,
    k: int,
    *,
    device: str = "auto",
    method: str = "auto",
    progress: Progress | None = None,
) -> tuple[Any, Any]:
    """Return the k gallery rows most similar to each query row, most similar first.

    query: [Q, d], gallery: [G, d], numpy, torch or Embeddings; rows need not be normalised.
    k: clipped to G.
    method: "auto" (exact up to sizes where that takes minutes), "exact", one exact way by name
        ("numpy", "torch", "faiss"), or an approximate one ("ivf", "hnsw", "ivfpq", "cagra").
    device: "auto" is where the tensors are; for arrays a GPU if there is one, else the CPU.
    returns: cosine similarity [Q, k] float32 and index [Q, k] int64, of the kind that came in
        (tensors on the query's device); equal similarities stand in the gallery's order.

    Raises:
        BadInput: an empty gallery, k below 1, other widths, rows with NaN, an unknown method.
    """
    similarity, index, _ = searched(
        query, gallery, k=k, device=device, method=method, progress=progress
    )
    return like(query, similarity), like(query, index)


def nearest_neighbours(
    features: Any,
    k: int,
    *,
    device: str = "auto",
    method: str = "auto",
    progress: Progress | None = None,
) -> tuple[Any, Any]:
    """Return the k most similar rows of each row of one set, the row itself first.

    features: [N, d], numpy, torch or Embeddings; rows need not be normalised. k: clipped to N.
    method, device: as in `search`.
    returns: cosine similarity [N, k] float32 and index [N, k] int64, of the kind that came in.

    Raises:
        BadInput: no rows, k below 1, rows with NaN, an unknown method.
    """
    similarity, index, _ = searched(
        features, None, k=k, device=device, method=method, progress=progress
    )
    return like(features, similarity), like(features, index)


def searched(
    query: Any,
    gallery: Any,
    *,
    k: int,
    device: str = "auto",
    method: str = "auto",
    progress: Progress | None = None,
) -> tuple[Any, Any, Searched]:
    """Do what `search` does, or with no gallery `nearest_neighbours`, and tell how it was done."""
    progress = progress or Silent()
    query, gallery = (
        items.features if isinstance(items, Embeddings) else items for items in (query, gallery)
    )
    columns = query if gallery is None else gallery
    check_widths(query, columns)
    k = checked_k(k, len(columns))
    where, on_host = search_device(query, device)
    how = choose(method, rows=len(query), columns=len(columns), where=where, k=k, on_host=on_host)
    if how == "torch":
        from .on_device import on_device

        similarity, index = on_device(query, gallery, k=k, where=where)
        done = Searched(how, where)
    else:
        rows = unit_rows(query, "query" if gallery is not None else "embeddings")
        others = rows if gallery is None else unit_rows(gallery, "gallery")
        settings: dict[str, Any] = {"how": how, "where": where, "progress": progress}
        similarity, index, done = searched_on_host(rows, others, k=k, **settings)
        if gallery is None:
            own_first(similarity, index)
    progress.message(f"{len(query):,} × {len(columns):,}, k = {k}: {done}")
    return similarity, index, done


def searched_on_host(
    rows: np.ndarray, others: np.ndarray, *, k: int, how: str, where: str, progress: Progress
) -> tuple[np.ndarray, np.ndarray, Searched]:
    """Search unit rows in host memory; FAISS may use a GPU for it."""
    if how == "numpy":
        done = Searched(how, where, detail=f", {threads()} threads")
        if rows is others:
            found = self_join(rows, k, progress=progress)
            return found.similarity, found.index, done
        return *top_k(rows, others, k=k, progress=progress), done
    if how == "faiss":
        return *faiss_exact(rows, others, k=k, where=where), Searched(how, where)
    if how == "ivf" and where == "cpu":
        centres = cluster_centres(others, list_count(len(others)))
        similarity, index, detail = top_k_in_lists(
            rows, others, k=k, centres=centres, progress=progress
        )
    else:
        built, detail = BUILDERS[how](faiss_module(), others, k=k, where=where)
        similarity, index = in_order(*built.search(rows, k))
        short = np.flatnonzero((index < 0).any(axis=1))
        if len(short):
            similarity[short], index[short] = top_k(rows[short], others, k=k)
    recall = recall_of(rows, others, index=index)
    return similarity, index, Searched(how, where, recall, detail)


def search_device(given: Any, device: str) -> tuple[str, bool]:
    """Return where to search, the tensor's device or the one asked for, and if rows lie in RAM.

    torch is not loaded where the search runs on the CPU.
    """
    if hasattr(given, "detach") and device == "auto":
        return str(given.device), given.device.type == "cpu"
    gpu_possible = "torch" in sys.modules or has_gpu_driver()  # else not worth loading torch
    if device == "cpu" or (device == "auto" and not gpu_possible):
        return "cpu", True
    chosen = choose_device(device)
    return "cpu" if chosen.type == "mps" and device == "auto" else str(chosen), True


def choose(
    method: str, *, rows: int, columns: int, where: str, k: int, on_host: bool = True
) -> str:
    """Return the way a search of this size goes on this device.

    on_host: whether the rows lie in host memory.

    Raises:
        BadInput: an unknown method, or one that this machine's FAISS does not have.
    """
    if method not in METHODS:
        raise BadInput(f"search method {method!r}: unknown; known are {', '.join(METHODS)}")
    kind = where.partition(":")[0]
    many = rows * columns > EXACT_PAIRS.get(kind, 4e10)
    if method == "auto" and many and faiss_module() is not None:
        method = "ivf"
    if method in ("auto", "exact"):
        if kind == "cpu":
            return "numpy"
        count = getattr(faiss_module(), "get_num_gpus", int) if kind == "cuda" else int
        gpu = k <= GPU_LONGEST and count() > 0
        return "faiss" if gpu and on_host else "torch"
    if method in ("faiss", *APPROXIMATE) and faiss_module() is None:
        raise BadInput(
            f"search method {method!r} needs FAISS, which cannot be imported here "
            f"({_FAISS_FAULT[0]}); install faiss-cpu or faiss-gpu, or use exact search"
        )
    return method


_FAISS_FAULT: list[str] = []


def faiss_module() -> Any:
    """Return faiss, or None where it cannot be imported."""
    if _FAISS_FAULT:
        return None
    try:
        import faiss
    except (ImportError, RuntimeError, OSError) as error:
        # faiss-gpu raises RuntimeError where the CUDA libraries it was built for are missing.
        _FAISS_FAULT.append(str(error).strip().splitlines()[0] if str(error) else repr(error))
        return None
    return faiss


def require_faiss(what: str) -> Any:
    """Return faiss; BadInput, with what needs it, where it cannot be imported."""
    faiss = faiss_module()
    if faiss is None:
        raise BadInput(f"{what} needs FAISS, which cannot be imported here ({_FAISS_FAULT[0]})")
    return faiss


def faiss_exact(
    rows: np.ndarray, others: np.ndarray, *, k: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best inner products by FAISS's brute force, on a GPU or the CPU."""
    faiss = faiss_module()
    if where.startswith("cuda"):
        if k > GPU_LONGEST:
            raise BadInput(f"FAISS returns at most {GPU_LONGEST} neighbours on a GPU; k is {k}")
        similarity, index = faiss.knn_gpu(
            faiss.StandardGpuResources(),
            rows,
            others,
            k,
            metric=faiss.METRIC_INNER_PRODUCT,
            device=gpu_number(where),
            vectorsMemoryLimit=8 << 30,
            queriesMemoryLimit=1 << 30,
        )
    else:
        similarity, index = faiss.knn(rows, others, k, metric=faiss.METRIC_INNER_PRODUCT)
    return in_order(similarity, index)


def cluster_centres(
    rows: np.ndarray,
    count: int,
    *,
    rounds: int = 8,
    points: int = 64,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Return the centres of spherical k-means over unit rows [N, d]: [count, d], of length 1.

    points: so many rows a centre are looked at, at most.
    start:  [count, d], the first centres; without them rows are drawn, always the same.

    Raises:
        BadInput: FAISS cannot be imported.
    """
    faiss = require_faiss("k-means")
    found = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=rounds,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=points,
    )
    found.train(rows, init_centroids=start)
    return found.centroids


def recall_of(rows: np.ndarray, others: np.ndarray, *, index: np.ndarray, seed: int = 0) -> float:
    """Return the share of the true nearest that lists [Q, k] hold, on a sample of their rows."""
    count = min(RECALL_SAMPLE, len(rows))
    chosen = np.sort(numpy_generator(seed, "recall").choice(len(rows), count, replace=False))
    _, true = top_k(rows[chosen], others, k=index.shape[1])
    found = [len(np.intersect1d(*pair)) for pair in zip(true, index[chosen], strict=True)]
    return float(np.mean(found)) / index.shape[1] if found else 1.0
