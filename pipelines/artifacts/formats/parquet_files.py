"""Parquet with a list column of features beside `path,pid,camid,split`, through pyarrow."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...data.folders import shortened
from ...data.tables import KNOWN, columns_of, plain, split_roles
from ...embeddings import COLUMNS, SPLITS
from ...errors import BadInput
from .keys import Warn
from .split import FileSplit, checked_split, rows_per_block

FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}  # Arrow says
READ_BYTES = 1 << 20  # at a time: a row group may be larger than memory


def require_pyarrow() -> Any:
    """Return `pyarrow.parquet`; BadInput with the command that installs it."""
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise BadInput(
            "Parquet files need pyarrow: install it with: python -m pip install pyarrow"
        ) from error
    return parquet


def read_parquet(path: Path, warn: Warn, *, labelled: bool) -> list[FileSplit]:
    """Read a table with a row an image; the features are its one list column of floats.

    labelled: whether pid and split are needed; without a split column the rows are of none.
    """
    with _opened(path) as table:
        schema = table.schema_arrow
    features = _features_column(path, schema)
    others = [name for name in schema.names if name != features]
    columns = {field: others[place] for field, place in columns_of(others).items()}
    for needed in ("pid", "split") if labelled else ():
        if needed not in columns:
            raise BadInput(
                f"{path} has no column {needed}: its columns are {', '.join(schema.names)}; wanted "
                f"path,pid,camid,split and a list column (path and camid may be absent)"
            )
    unknown = [name for name in others if name not in columns.values()]
    if unknown:
        warn(f"{path}: ignored {', '.join(unknown)}")
    return _splits(path, features, columns=columns, schema=schema, warn=warn)


def _splits(
    path: Path, features: str, *, columns: dict[str, str], schema: Any, warn: Warn
) -> list[FileSplit]:
    labels = {
        field: _labels(path, columns[field], field=field)
        for field in ("pid", "camid", *COLUMNS)
        if field in columns
    }
    named = _split_names(path, columns.get("split"), pids=labels.get("pid"), warn=warn)
    width = _width(path, features)
    found = []
    for split in (*SPLITS, ""):
        chosen = named == split
        if not chosen.any() or (split == "" and "split" in columns):
            continue
        found.append(
            checked_split(
                path,
                split,
                shape=(int(chosen.sum()), width),
                dtype=FLOATS[str(schema.field(features).type.value_type)],
                blocks=partial(_blocks, path, features, width=width, chosen=chosen),
                pids=labels["pid"][chosen] if "pid" in labels else None,
                camids=labels["camid"][chosen] if "camid" in labels else None,
                names=partial(_names, path, columns["path"], chosen=chosen)
                if "path" in columns
                else None,
                columns={name: labels[name][chosen] for name in COLUMNS if name in labels},
            )
        )
    if not found:
        raise BadInput(f"{path} has no rows")
    return found


def _features_column(path: Path, schema: Any) -> str:
    import pyarrow as pa

    lists = [
        field.name
        for field in schema
        if (
            pa.types.is_list(field.type)
            or pa.types.is_large_list(field.type)
            or pa.types.is_fixed_size_list(field.type)
        )
        and pa.types.is_floating(field.type.value_type)
    ]
    if "features" in lists:
        return "features"
    if len(lists) != 1:
        raise BadInput(
            f"{path} has {len(lists)} list columns of floats ({', '.join(lists) or 'none'}); one "
            "is wanted, or one called features"
        )
    return lists[0]


def _width(path: Path, column: str) -> int:
    with _opened(path) as table:
        for batch in table.iter_batches(batch_size=1, columns=[column]):
            row = batch.column(0)[0]
            return len(row) if row.is_valid else 0
    raise BadInput(f"{path} has no rows")


def _blocks(path: Path, column: str, *, width: int, chosen: np.ndarray) -> Iterator[np.ndarray]:
    start = 0
    with _opened(path) as table:
        for batch in table.iter_batches(batch_size=rows_per_block(width * 8), columns=[column]):
            lists = batch.column(0)
            values, rows = lists.flatten(), len(lists)
            uneven = lists.null_count or values.null_count
            # pyarrow's flatten drops null rows, so a wrong total finds missing and ragged rows
            if not uneven and not hasattr(lists.type, "list_size"):
                uneven = bool((np.diff(lists.offsets.to_numpy()) != width).any())
            if uneven or len(values) != rows * width:
                raise BadInput(
                    f"{path}: rows {start} to {start + rows - 1} of {column} are not all "
                    f"{width} numbers, as the first is"
                )
            mask = chosen[start : start + rows]
            start += rows
            if mask.any():
                yield values.to_numpy(zero_copy_only=False).reshape(rows, width)[mask]


def _split_names(
    path: Path, column: str | None, *, pids: np.ndarray | None, warn: Warn
) -> np.ndarray:
    """Return each row's split as we call it, [N] str; "" for none."""
    if column is None:
        with _opened(path) as table:
            return np.full(table.metadata.num_rows, "")
    values = [str(value) for batch in _batches(path, column) for value in batch]
    strange = sorted({value for value in values if plain(value) not in KNOWN})
    if strange:
        raise BadInput(f"{path}: split is {shortened(strange)[:200]!r}; wanted {', '.join(SPLITS)}")
    named = np.array(values, str)
    people = {
        str(split): set() if pids is None else set(pids[named == split].astype(str).tolist())
        for split in np.unique(named)
    }
    roles, said = split_roles(people)
    for text in said:
        warn(f"{path}: {text}")
    return np.array([roles[value] for value in values], str)


def _labels(path: Path, column: str, *, field: str) -> np.ndarray:
    """Return a column of numbers or text, [N]; a camera that is missing is -1."""
    found, row = [], 0
    for values in _batches(path, column):
        if field != "pid":
            values = [-1 if value is None or value != value else value for value in values]
        if field in COLUMNS:
            values = [value if isinstance(value, int | float) else str(value) for value in values]
        for number, value in enumerate(values):
            if not isinstance(value, int | float | str):
                raise BadInput(
                    f"{path}, row {row + number}: {column} is {value!r}; a whole number or a name "
                    "is wanted"
                )
        found.append(np.array(values))
        row += len(values)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _names(path: Path, column: str, *, chosen: np.ndarray) -> Iterator[str]:
    start = 0
    for values in _batches(path, column):
        mask = chosen[start : start + len(values)]
        start += len(values)
        yield from (str(value) for value, keep in zip(values, mask, strict=True) if keep)


def _batches(path: Path, column: str) -> Iterator[list[Any]]:
    """Yield a column as Python values, some rows at a time."""
    with _opened(path) as table:
        for batch in table.iter_batches(columns=[column]):
            yield batch.column(0).to_pylist()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    parquet = require_pyarrow()
    options = {"buffer_size": READ_BYTES, "pre_buffer": False}
    with parquet.ParquetFile(path, **options) as table:
        yield table
