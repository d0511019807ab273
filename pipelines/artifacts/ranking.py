"""ranking.h5: the first items of every query's list, in the order that the metrics counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadInput
from ..flow import command_line
from ..hdf5 import reading, require_arrays, writing

if TYPE_CHECKING:
    import h5py

    from ..ranking.ranked_lists import Ranking

SCHEMA = 1


def save_rankings(
    path: str | Path,
    rankings: "dict[str, Ranking]",
    *,
    query_rows: np.ndarray,
    gallery_rows: np.ndarray,
    average_precision: dict[str, np.ndarray],
) -> None:
    """Write the lists of each result to `path` itself, a group by the result's name.

    query_rows, gallery_rows: the rows of embeddings.h5 that were ranked; the lists name these.

    Datasets: `query` [Q] the rows of the queries in embeddings.h5; in each group `index` [Q, k]
    rows of the gallery there, -1 beyond the end of a list; `nearness` [Q, k] cosine similarity or
    minus the distance; `match` [Q, k] whether it is the right person; `average_precision` [Q],
    NaN where a query has no match.
    """
    with writing(Path(path)) as file:
        file.attrs.update({"schema": SCHEMA, "results": list(rankings)})
        file.create_dataset("query", data=query_rows.astype(np.int64))
        for name, ranking in rankings.items():
            group = file.create_group(name)
            rows = np.where(ranking.index < 0, -1, gallery_rows[ranking.index.clip(0)])
            group.create_dataset("index", data=rows.astype(np.int32))
            group.create_dataset("nearness", data=ranking.nearness)
            group.create_dataset("match", data=ranking.match)
            group.create_dataset("average_precision", data=average_precision[name])


def load_ranking(path: str | Path, name: str) -> "Ranking":
    """Return the lists of one result, naming rows of embeddings.h5's gallery.

    Raises:
        BadInput: no such file, not ours, or no such result in it (with those there are).
    """
    from ..ranking.ranked_lists import Ranking

    with _opened(path) as file:
        results = [str(result) for result in file.attrs["results"]]
        if name not in results:
            raise BadInput(f"{path} has no result {name!r}; it has {', '.join(results)}")
        group, lists = file[name], {"index": "i[Q,k]", "nearness": "f[Q,k]", "match": "b[Q,k]"}
        require_arrays(Path(path), group, **lists)
        return Ranking(
            group["index"][:].astype(np.int64), group["nearness"][:], group["match"][:].astype(bool)
        )


def load_average_precision(path: str | Path) -> dict[str, np.ndarray]:
    """Return every result's average precision [Q], NaN where a query has no match."""
    with _opened(path) as file:
        results = [str(name) for name in file.attrs["results"]]
        return {name: file[name]["average_precision"][:] for name in results}


def load_query_rows(path: str | Path) -> np.ndarray:
    """Return the rows [Q] of embeddings.h5's queries that the lists are of."""
    with _opened(path) as file:
        rows: np.ndarray = file["query"][:]
        return rows


@contextmanager
def _opened(path: str | Path) -> "Iterator[h5py.File]":
    again = command_line("evaluate", "--overwrite", run=Path(path).parent)
    with reading(Path(path), remedy=f"make it again with: {again}") as file:
        if file.attrs.get("schema") != SCHEMA:
            raise BadInput(f"{path} holds no ranked lists of ours; make them again with: {again}")
        scored = {f"{name}/average_precision": "f[Q]" for name in file.attrs["results"]}
        require_arrays(Path(path), file, query="i[Q]", **scored)
        yield file
