"""The projections of rows that attention reads: queries, keys and values."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Projected:
    """What attention needs of some rows; row i of head h stands at i·heads + h.

    asking, keys: [R, c], whose inner product is the affinity: c is the number of landmarks, or
                  the head's width where the affinity is exact. The scale is within `asking`.
    values:       [R, w], w being the head's width.
    """

    asking: Tensor
    keys: Tensor
    values: Tensor

    def block(self, start: int, stop: int) -> "Projected":
        """Return the rows from `start` up to `stop`."""
        part = slice(start, stop)
        return Projected(self.asking[part], self.keys[part], self.values[part])
