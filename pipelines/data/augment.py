"""Augmentation and normalisation of whole batches, on the device that the network is on."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..preprocessing import Preprocessing

ERASED_AREA = (0.02, 0.4)  # share of the image, Zhong et al., Random Erasing, AAAI 2020
ERASED_ASPECT = (0.3, 1 / 0.3)


class Draws(NamedTuple):
    """Random draws for some images of a batch: what a process with the whole batch draws for them.

    total: images of the whole batch.   first: how many of them come before these.
    """

    generator: torch.Generator
    total: int
    first: int = 0

    def uniform(self, count: int) -> Tensor:
        """Return a draw from [0, 1) for each image: [count]."""
        drawn = torch.rand(self.total, generator=self.generator)
        return drawn[self.first : self.first + count]

    def whole(self, count: int, *, below: int) -> Tensor:
        """Return two whole numbers from 0 for each image: [2, count]."""
        drawn = torch.randint(0, below, (2, self.total), generator=self.generator)
        return drawn[:, self.first : self.first + count]


def normalise(images: Tensor, preprocessing: Preprocessing = Preprocessing()) -> Tensor:
    """Return RGB images [B, 3, H, W] uint8 as a network takes them: float32, channels_last."""
    if preprocessing.channels == "bgr":
        images = images.flip(1)
    white = 255 / preprocessing.scale
    mean, std = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1) * white
        for values in (preprocessing.mean, preprocessing.std)
    )
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, *, flip: float, pad: int, erase: float, draws: Draws) -> Tensor:
    """Return a training batch: mirrored, shifted, normalised and erased, each image by itself.

    images: [B, 3, H, W] uint8.   returns: [B, 3, H, W] float32.
    flip, erase: probabilities.   pad: pixels of black border before a random crop.
    draws:       by a CPU generator: the same on every device.
    """
    if flip > 0:
        images = random_flip(images, flip, draws=draws)
    if pad > 0:
        images = random_crop(images, pad, draws=draws)
    images = normalise(images)
    return random_erase(images, erase, draws=draws) if erase > 0 else images


def random_flip(images: Tensor, probability: float, *, draws: Draws) -> Tensor:
    """Mirror each image of [B, 3, H, W] left to right with a probability."""
    mirrored = draws.uniform(len(images)) < probability
    return torch.where(mirrored.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)


def random_crop(images: Tensor, pad: int, *, draws: Draws) -> Tensor:
    """Shift each image of [B, 3, H, W] by up to `pad` pixels each way, black coming in."""
    count, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    top, left = draws.whole(count, below=2 * pad + 1).to(images.device)
    rows = top[:, None] + torch.arange(height, device=images.device)  # [B, H]
    columns = left[:, None] + torch.arange(width, device=images.device)  # [B, W]
    each = torch.arange(count, device=images.device)[:, None, None]
    cropped = padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]  # B H W 3
    return cropped.permute(0, 3, 1, 2)


def random_erase(images: Tensor, probability: float, *, draws: Draws) -> Tensor:
    """Set a random rectangle of each normalised image to the mean colour, with a probability."""
    count, _, height, width = images.shape
    chosen = draws.uniform(count) < probability
    low, high = ERASED_AREA
    area = height * width * (low + (high - low) * draws.uniform(count))
    low, high = ERASED_ASPECT
    aspect = low + (high - low) * draws.uniform(count)
    tall = (area * aspect).sqrt().round().clamp(1, height - 1)  # [B]
    wide = (area / aspect).sqrt().round().clamp(1, width - 1)
    top = (draws.uniform(count) * (height - tall + 1)).floor()
    left = (draws.uniform(count) * (width - wide + 1)).floor()
    inside_rows = _between(torch.arange(height), start=top, length=tall)  # [B, H]
    inside_columns = _between(torch.arange(width), start=left, length=wide)  # [B, W]
    erased = (inside_rows[:, :, None] & inside_columns[:, None, :]) & chosen[:, None, None]
    kept = images.masked_fill(erased[:, None].to(images.device), 0.0)
    return kept.contiguous(memory_format=torch.channels_last)


def _between(position: Tensor, *, start: Tensor, length: Tensor) -> Tensor:
    return (position >= start[:, None]) & (position < (start + length)[:, None])
