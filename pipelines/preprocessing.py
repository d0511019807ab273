"""What a network wants of an image: its size, resampling, colours and normalisation."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Resize = Literal["bilinear", "bicubic", "lanczos", "nearest"]
Fit = Literal["stretch", "crop", "pad"]
Channels = Literal["rgb", "bgr"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From an upright 8-bit RGB image to a network's input, [3, height, width] float32.

    height, width: of the input, in pixels.
    resize:    the filter, as Pillow applies it (antialiased where an image gets smaller).
    fit:       stretch: to height × width; crop: keep the aspect ratio, cut what is over;
               pad: keep the aspect ratio, black at both sides of what is short.
    crop:      the input as a share of the resized image, whose centre is cut out (timm's crop_pct).
    channels:  the order of the colours.
    scale:     the value of white, 1 or 255, before `mean` and `std`.
    mean, std: of each channel, in the order of `channels`, subtracted and divided by.
    """

    height: int = 256
    width: int = 128
    resize: Resize = "bilinear"
    fit: Fit = "stretch"
    crop: float = 1.0
    channels: Channels = "rgb"
    scale: int = 1
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def resized_size(self) -> tuple[int, int]:
        """Height and width before the centre is cut out."""
        height, width = (math.floor(size / self.crop + 1e-6) for size in (self.height, self.width))
        return height, width

    @property
    def shape(self) -> str:
        """The size, and how images come to it where they are not stretched, in words."""
        words = [f"{self.height}×{self.width}"]
        words += [word for word in (self.resize, self.fit) if word not in ("bilinear", "stretch")]
        return " ".join(words + [f"crop {self.crop:g}"] * (self.crop != 1))

    @property
    def geometry(self) -> tuple[Any, ...]:
        """What decides which pixels the network sees."""
        return self.height, self.width, self.resize, self.fit, self.crop

    @staticmethod
    def of(table: dict[str, Any]) -> "Preprocessing":
        """Return what `as_table` gave."""
        lists = {key: tuple(value) for key, value in table.items() if isinstance(value, list)}
        return Preprocessing(**table | lists)

    def as_table(self) -> dict[str, Any]:
        """Return the fields as a JSON-able table, as manifests and model metadata record them."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
