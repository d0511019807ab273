"""Tensors in a mapped file, whose blocks are compared with their digests before they are used."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .index_file import Column

# What tells of a tensor without its numbers.
ABOUT = {
    getattr(Tensor, name).__get__
    for name in ("shape", "device", "dtype", "layout", "ndim", "requires_grad", "is_cuda")
} | {Tensor.__len__, Tensor.dim, Tensor.size, Tensor.numel, Tensor.is_floating_point}


class MappedTensor(Tensor):
    """A tensor that compares the rows picked from it, and all of it before anything else.

    What comes out of it is a plain tensor.
    """

    column: "Column"

    @staticmethod
    def of(column: "Column") -> "MappedTensor":
        """Return the tensor of a column."""
        found = torch.from_numpy(column.array).as_subclass(MappedTensor)
        found.column = column
        return found

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compare what is going to be read, then do what was asked for."""
        with torch._C.DisableTorchFunctionSubclass():
            if func is Tensor.__getitem__ and isinstance(args[0], MappedTensor):
                _compare(args[0], args[1])
            elif func not in ABOUT:
                for tensor in _mapped((*args, *(kwargs or {}).values())):
                    _compare(tensor, slice(None))
            return func(*args, **(kwargs or {}))


def _compare(tensor: MappedTensor, rows: Any) -> None:
    """Compare the blocks that hold rows; all of them where rows are not said by number."""
    if isinstance(rows, Tensor) and not rows.is_floating_point():
        rows = rows.cpu().numpy()
    elif not isinstance(rows, int):
        rows = slice(None)
    column = getattr(tensor, "column", None)  # an alias that torch made of one has none
    if column is not None:
        column.check(rows)


def _mapped(values: Iterable[Any]) -> Iterator[MappedTensor]:
    for value in values:
        if isinstance(value, MappedTensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _mapped(value)
