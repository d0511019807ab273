"""The batch norm between a feature and its classifier (BNNeck; Luo et al., CVPRW 2019)."""

from torch import Tensor, nn


class Neck(nn.BatchNorm1d):
    """Features -> features after the neck, or, for the feature `before`, as they are.

    The tensors of a neck that is not used are read all the same: every file has them.
    """

    def __init__(self, width: int, *, feature: str) -> None:
        super().__init__(width)
        self.used = feature == "after"

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, width]."""
        return super().forward(x) if self.used else x
