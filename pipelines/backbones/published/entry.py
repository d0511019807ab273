"""What is known of a published network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ...preprocessing import Preprocessing

Rename = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published network: how it is built, what it wants of an image, which feature it gives.

    build:         build(size=(height, width), feature=NAME) -> a module with new weights, from
                   images [B, 3, H, W] to features [B, width].
    preprocessing: as its code base prepares images for a test.
    origin:        paper and repository.
    features:      those it can give, first the one that its code base's own test takes.
    rename:        from the file's tensor names to the module's, where they are not the same.
    """

    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    origin: str
    features: tuple[str, ...] = ("pooled",)
    rename: Rename | None = None
