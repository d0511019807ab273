"""index.h5: a gallery to search, in one file that is mapped into memory rather than read."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, overload

import numpy as np

from ..errors import BadInput
from ..hdf5 import reading

if TYPE_CHECKING:
    import h5py
    from torch import Tensor

    from .index import GalleryIndex

SCHEMA = 3
REMAKE = "remake it with: nformer index --overwrite"
PAGE = 4096  # arrays begin on pages: what is not needed is never touched


def save_index(path: Path, index: "GalleryIndex") -> None:
    """Write an index to `path` itself."""
    import h5py

    settings = None if index.state is None else index.state.model.settings
    ends, text = _packed(index.names)
    arrays = {**_arrays(index), "names/ends": ends, "names/text": text}
    with h5py.File(path, "w", alignment_threshold=PAGE, alignment_interval=PAGE) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["model"] = json.dumps(settings, sort_keys=True)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def open_index(path: Path, *, size: int | None = None) -> "GalleryIndex":
    """Open an index, its arrays mapped: only what a search touches is read from the disk.

    size: the file's bytes as its manifest records them. The content is not compared with the
          digest there, which would read all of it: `Run.require_whole` does.

    Raises:
        BadInput: no such file, truncated, not an index of ours, or of another version.
    """
    with _opened(path) as (stream, file):
        settings = json.loads(file.attrs["model"])
        arrays = {name: _mapped(stream, stored) for name, stored in _datasets(file)}
        found = os.fstat(stream.fileno()).st_size
    try:
        index = _index_of(arrays, settings)
    except (RuntimeError, TypeError, KeyError) as error:
        raise BadInput(f"{path} was written by another version of nformer; {REMAKE}") from error
    if size not in (None, found):
        raise BadInput(
            f"{path} is cut or replaced: {found} bytes, its manifest records {size}; {REMAKE}"
        )
    return index


class Names(Sequence[str]):
    """N strings in one mapped text; only those asked for are read."""

    def __init__(self, ends: np.ndarray, text: np.ndarray) -> None:
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


def _index_of(arrays: dict[str, np.ndarray], settings: dict[str, Any] | None) -> "GalleryIndex":
    import torch

    from ..nformer.on_closed_form import NFormerOnClosedForm, build_model
    from ..refiners.closed_form import ClosedFormGallery
    from .graph import GalleryGraph
    from .index import GalleryIndex
    from .states import GalleryState

    def tensor(name: str) -> "Tensor":
        return torch.from_numpy(arrays[name])

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
    names = Names(arrays["names/ends"], arrays["names/text"])
    return GalleryIndex(tensor("rows"), state, arrays["pids"], arrays["camids"], names)


def _datasets(file: "h5py.File") -> list[tuple[str, "h5py.Dataset"]]:
    import h5py

    found: list[tuple[str, h5py.Dataset]] = []

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item))

    file.visititems(collect)
    return found


def _mapped(stream: IO[bytes], stored: "h5py.Dataset") -> np.ndarray:
    offset = stored.id.get_offset()
    if offset is None or stored.shape == ():
        return np.asarray(stored[()])
    # copy-on-write: nothing is ever written back, and torch takes it without a warning
    return np.memmap(stream, stored.dtype, "c", offset, stored.shape)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], "h5py.File"]]:
    """Yield the file and its HDF5 view: one file, whatever a writer puts in its place meanwhile."""
    if not path.is_file():
        raise BadInput(f"{path} is not there; an index is wanted")
    with path.open("rb") as stream:
        with reading(path, stream=stream, remedy=REMAKE) as file:
            if file.attrs.get("schema") == 1 and "meta" in file.attrs:
                raise BadInput(f"{path} was written by another version of nformer; {REMAKE}")
            if file.attrs.get("schema") != SCHEMA or "model" not in file.attrs:
                raise BadInput(f"{path} is not an index of ours; {REMAKE}")
            yield stream, file
