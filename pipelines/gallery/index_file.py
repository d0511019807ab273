"""index.h5: a gallery to search, in one file that is mapped into memory rather than read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..blocks import BlockedFile
from ..errors import BadInput, blaming
from ..flow import command_line
from ..hdf5 import reading, require_arrays, writing
from ..labels import LabelNames

if TYPE_CHECKING:
    import h5py
    from torch import Tensor

    from .index import GalleryIndex

NAMES = {"names/ends": "i[N]", "names/text": "u[letters]"}  # arrays that hold the names
SCHEMA = 3
PAGE = 4096  # arrays begin on pages: what is not needed is never touched


def save_index(path: Path, index: "GalleryIndex") -> None:
    """Write an index to `path` itself."""
    settings = None if index.state is None else index.state.model.settings
    arrays, labels = _arrays(index), index.labels
    columns = {"names": index.names, "members": index.members}
    columns |= {"labels/pids": labels.pids, "labels/camids": labels.camids}
    for column, texts in columns.items():
        if len(texts):
            arrays[f"{column}/ends"], arrays[f"{column}/text"] = _packed(texts)
    if len(index.times):
        arrays["times"] = np.asarray(index.times)
    with writing(path, alignment_threshold=PAGE, alignment_interval=PAGE) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["model"] = json.dumps(settings, sort_keys=True)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def open_index(path: Path, *, blocks: BlockedFile | None = None) -> "GalleryIndex":
    """Open an index, its arrays mapped: only what a search touches is read from the disk.

    blocks: the file opened already, each block compared with its digest when it is first touched;
            without it nothing is compared.

    Raises:
        BadInput: no such file, damaged, not an index of ours, or of another version.
    """
    remake = f"remake it with: {command_line('index', '--overwrite', run=path.parent)}"
    blocks = blocks or BlockedFile(path, remedy=remake)
    with reading(path, blocks=blocks, remedy=remake) as file:
        if file.attrs.get("schema") == 1 and "meta" in file.attrs:
            raise BadInput(f"{path} was written by another version of nformer; {remake}")
        if file.attrs.get("schema") != SCHEMA or "model" not in file.attrs:
            raise BadInput(f"{path} is not an index of ours; {remake}")
        settings = json.loads(file.attrs["model"])
        require_arrays(path, file, rows="f[N,d]", pids="i[N]", camids="i[N]", **NAMES)
        arrays = {name: _mapped(blocks, stored) for name, stored in _datasets(file)}
    with blaming(path, saying=f"was written by another version of nformer; {remake}"):
        return _index_of(arrays, settings)


def index_names(path: Path) -> Sequence[str]:
    """Return the names in an index; PyTorch is not loaded for them.

    Raises:
        BadInput: no such file, or not an index of ours.
    """
    remake = f"remake it with: {command_line('index', '--overwrite', run=path.parent)}"
    with reading(path, remedy=remake) as file:
        require_arrays(path, file, **NAMES)
        return Names(file["names/ends"][:], file["names/text"][:])


class Column(Sequence[Any]):
    """An array [N, …] in a mapped file; the blocks of what is asked for are compared first."""

    def __init__(self, array: np.ndarray, *, blocks: BlockedFile, start: int) -> None:
        self.array, self.blocks, self.start = array, blocks, start

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Any) -> Any:
        self.check(rows)
        return self.array[rows]

    def check(self, rows: Any) -> None:
        """Compare the blocks of rows: a slice, a mask [N], or numbers of any shape."""
        if self.blocks.checked(self.start, self.start + self.array.nbytes):
            return
        width = self.array.itemsize * int(np.prod(self.array.shape[1:]))
        if isinstance(rows, slice):
            first, last, _ = rows.indices(len(self))
            self.blocks.check(self.start + first * width, self.start + last * width)
        else:
            found = np.asarray(rows)
            found = np.flatnonzero(found) if found.dtype == bool else found % max(1, len(self))
            self.blocks.check_rows(found, start=self.start, width=width)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype, copy=copy)


class Names(Sequence[str]):
    """N strings in one mapped text; only those asked for are read."""

    def __init__(self, ends: Sequence[Any], text: Sequence[Any]) -> None:
        self.ends, self.text = ends, text

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        start = int(self.ends[row - 1]) if row else 0
        return bytes(self.text[start : int(self.ends[row])]).decode("utf-8", "surrogateescape")


def _packed(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    return ends, np.frombuffer(b"".join(encoded), np.uint8)


def _arrays(index: "GalleryIndex") -> dict[str, np.ndarray]:
    arrays: dict[str, Any] = {"rows": index.rows, "pids": index.pids, "camids": index.camids}
    state = index.state
    if state is not None:
        arrays |= {f"hidden/{number}": rows for number, rows in enumerate(state.hidden)}
        arrays |= {f"model/{name}": value for name, value in state.model.state_dict().items()}
        graph = {"lists": state.graph.lists, "kept": state.graph.kept, "reach": state.graph.reach}
        arrays |= {f"graph/{name}": value for name, value in graph.items() if value is not None}
        start = {} if state.start is None else state.start.tensors()
        arrays |= {f"start/{name}": value for name, value in start.items()}
        arrays["marks"] = state.marks
    return {
        name: value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
        for name, value in arrays.items()
    }


def _index_of(arrays: dict[str, Any], settings: dict[str, Any] | None) -> "GalleryIndex":
    import torch

    from ..nformer.on_closed_form import NFormerOnClosedForm, build_model
    from ..refiners.closed_form import ClosedFormGallery
    from .graph import GalleryGraph
    from .index import GalleryIndex
    from .mapped import MappedTensor
    from .states import GalleryState

    def tensor(name: str) -> "Tensor":
        found = arrays[name]
        return MappedTensor.of(found) if isinstance(found, Column) else torch.from_numpy(found)

    state = None
    if settings is not None:
        model = build_model(settings)
        prefix = "model/"
        model.load_state_dict(
            {name.removeprefix(prefix): tensor(name) for name in arrays if name.startswith(prefix)}
        )
        graph = [
            tensor(f"graph/{name}") if f"graph/{name}" in arrays else None
            for name in ("lists", "kept", "reach")
        ]
        hidden = tuple(tensor(f"hidden/{number}") for number in range(len(model.blocks) + 1))
        joined = GalleryGraph(graph[0], graph[1], graph[2], model.heads)
        start = {name[6:]: tensor(name) for name in arrays if name.startswith("start/")}
        refined = ClosedFormGallery.of(start) if start else None
        if refined is not None and isinstance(model, NFormerOnClosedForm):
            model.closed_form.assume = refined.domain.assume
        state = GalleryState(model.eval(), hidden, tensor("marks"), joined, refined)
    columns: dict[str, Sequence[str]] = {
        column: Names(arrays[f"{column}/ends"], arrays[f"{column}/text"])
        if f"{column}/ends" in arrays
        else ()
        for column in ("names", "members", "labels/pids", "labels/camids")
    }
    labels = LabelNames(columns["labels/pids"], columns["labels/camids"])
    rows, listed = tensor("rows"), (columns["names"], columns["members"])
    of_items = (arrays["pids"], arrays["camids"], *listed)
    return GalleryIndex(rows, state, *of_items, labels, arrays.get("times", ()))


def _datasets(file: "h5py.File") -> list[tuple[str, "h5py.Dataset"]]:
    import h5py

    found: list[tuple[str, h5py.Dataset]] = []

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item))

    file.visititems(collect)
    return found


def _mapped(blocks: BlockedFile, stored: "h5py.Dataset") -> Any:
    start = stored.id.get_offset()
    if start is None or stored.shape == ():
        return np.asarray(stored[()])
    array = blocks.array(stored.dtype, stored.shape, start=start)
    whole = blocks.checked(start, start + array.nbytes)
    return array if whole else Column(array, blocks=blocks, start=start)
