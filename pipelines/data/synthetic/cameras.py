"""A camera of the synthetic data set: its background, its view and its image noise."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ...seeding import numpy_generator
from .people import Colour


@dataclass(frozen=True)
class Camera:
    """One camera: viewpoint, light, sensor, background and what stands in the way."""

    yaw: float  # how most people walk: 0 towards the camera, pi away, ±pi/2 across
    pitch: float
    light: float  # side of the sun, -1 or 1
    gains: tuple[float, float, float]  # exposure and white balance of red, green, blue
    gamma: float
    saturation: float
    haze: float  # added to every pixel, of 255
    blur: float  # pixels at 128 high
    noise: float
    quality: int  # of the JPEG
    clutter: float  # probability of something in front
    loose: float  # how badly the detector crops
    panorama: Image.Image  # the place, wider than any picture; at a height of 160

    @staticmethod
    def draw_lots(seed: int, number: int) -> "Camera":
        """Return camera `number` (from 1): views go round so that every few cameras differ."""
        random = numpy_generator(seed, "synthetic", "camera", number)
        view = (0.0, math.pi, math.pi / 2, -math.pi / 2, 0.6, math.pi - 0.6)[(number - 1) % 6]
        warmth = random.normal(0, 0.06)
        exposure = random.uniform(0.75, 1.15)
        tint = random.normal(0, 0.025)
        return Camera(
            yaw=view + random.normal(0, 0.15),
            pitch=float(random.uniform(0.05, 0.35)),
            light=float(random.choice([-1, 1])),
            gains=(exposure * (1 + warmth), exposure * (1 + tint), exposure * (1 - warmth)),
            gamma=float(random.uniform(0.85, 1.2)),
            saturation=float(random.uniform(0.7, 1.1)),
            haze=float(random.uniform(0, 16)),
            blur=float(random.uniform(0.2, 1.0)),
            noise=float(random.uniform(1.5, 6)),
            quality=_whole(random, low=60, high=92),
            clutter=float(random.uniform(0.06, 0.2)),
            loose=float(random.uniform(0.02, 0.06)),
            panorama=draw_place(random),
        )

    def background(self, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
        """Return a cut of the place, `size` (width, height) pixels."""
        height = _whole(random, low=120, high=self.panorama.height + 1)
        width = round(height * size[0] / size[1])
        left = _whole(random, low=0, high=self.panorama.width - width)
        top = _whole(random, low=0, high=self.panorama.height - height + 1)
        box = (left, top, left + width, top + height)
        return self.panorama.resize(size, Image.Resampling.BILINEAR, box)

    def develop(
        self, image: Image.Image, *, gain: float, random: np.random.Generator
    ) -> Image.Image:
        """Return what this camera's sensor makes of a clean picture."""
        if self.blur > 0.3:
            radius = self.blur * image.height / 128
            image = image.filter(ImageFilter.GaussianBlur(radius))
        pixels = np.asarray(image, dtype=np.float32) / 255  # [height, width, 3]
        grey = pixels.mean(axis=2, keepdims=True)
        pixels = grey + (pixels - grey) * self.saturation
        gains = np.float32(gain) * np.array(self.gains, np.float32)
        pixels = np.clip(pixels * gains, 0, 1) ** self.gamma
        pixels = self.haze + (255 - self.haze) * pixels
        grain = random.standard_normal(pixels.shape[:2], dtype=np.float32)[..., None]
        return Image.fromarray(np.clip(pixels + self.noise * grain, 0, 255).astype(np.uint8))

    def obstruct(self, image: Image.Image, random: np.random.Generator) -> None:
        """Draw a post, a bicycle or a bin in front of the person."""
        pen, (width, height) = ImageDraw.Draw(image), image.size
        kind = _whole(random, low=0, high=3)
        colour = _grey(random, low=40, high=150)
        if kind == 0:
            x, half = random.uniform(0.1, 0.9) * width, random.uniform(0.04, 0.1) * width
            pen.rectangle((x - half, 0, x + half, height), fill=colour)
        elif kind == 1:
            _bicycle(pen, random.uniform(-0.1, 0.6) * width, size=image.size, colour=colour)
        else:
            top, left = random.uniform(0.6, 0.8) * height, random.uniform(-0.2, 0.5) * width
            pen.rectangle((left, top, left + random.uniform(0.4, 0.9) * width, height), fill=colour)


def draw_place(random: np.random.Generator, *, width: int = 480, height: int = 160) -> Image.Image:
    """Return a street: wall, shop windows, trees or lawn above a ground with joints."""
    wall, ground = _earth(random, low=110, high=215), _earth(random, low=95, high=190)
    image = Image.new("RGB", (width, height), wall)
    pen = ImageDraw.Draw(image)
    horizon = int(random.uniform(0.3, 0.6) * height)
    kind = _whole(random, low=0, high=3)
    if kind == 0:
        _windows(pen, random, size=(width, horizon), wall=wall)
    elif kind == 1:
        _trees(pen, random, width=width, horizon=horizon)
    else:
        _bricks(pen, random, size=(width, horizon), wall=wall)
    pen.rectangle((0, horizon, width, height), fill=ground)
    _ground(pen, random, size=(width, height), horizon=horizon, ground=ground)
    for _ in range(_whole(random, low=2, high=6)):
        x, thick = _whole(random, low=0, high=width), _whole(random, low=2, high=7)
        foot = horizon + _whole(random, low=2, high=30)
        pen.rectangle((x, 0, x + thick, foot), fill=_grey(random, low=50, high=170))
    image = image.filter(ImageFilter.GaussianBlur(1.2))
    rough = random.normal(0, 7, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + rough, 0, 255).astype(np.uint8))


def _windows(
    pen: ImageDraw.ImageDraw, random: np.random.Generator, *, size: tuple[int, int], wall: Colour
) -> None:
    width, horizon = size
    step = _whole(random, low=28, high=60)
    for x in range(0, width, step):
        glass = _earth(random, low=40, high=150)
        sill = horizon - _whole(random, low=4, high=14)
        pen.rectangle((x + 4, -1, x + step - 4, sill), fill=glass)
        pen.line((x + step // 2, 0, x + step // 2, horizon), fill=wall, width=2)


def _trees(
    pen: ImageDraw.ImageDraw, random: np.random.Generator, *, width: int, horizon: int
) -> None:
    pen.rectangle((0, 0, width, horizon), fill=_earth(random, low=150, high=230))
    for _ in range(60):
        x, y = _whole(random, low=0, high=width), _whole(random, low=-10, high=horizon)
        r = _whole(random, low=8, high=26)
        ranges = ((40, 110), (80, 140), (40, 80))
        green = tuple(_whole(random, low=low, high=high) for low, high in ranges)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=green)


def _bricks(
    pen: ImageDraw.ImageDraw, random: np.random.Generator, *, size: tuple[int, int], wall: Colour
) -> None:
    width, horizon = size
    for row, y in enumerate(range(0, horizon, 9)):
        for x in range(-(row % 2) * 11, width, 22):
            tone = random.normal(0, 12)
            fill = tuple(int(np.clip(channel + tone, 0, 255)) for channel in wall)
            pen.rectangle((x, y, x + 20, y + 7), fill=fill)


def _ground(
    pen: ImageDraw.ImageDraw,
    random: np.random.Generator,
    *,
    size: tuple[int, int],
    horizon: int,
    ground: Colour,
) -> None:
    width, height = size
    joint = tuple(int(channel * 0.85) for channel in ground)
    y, gap = float(horizon), 4.0
    while y < height:
        pen.line((0, y, width, y), fill=joint)
        y, gap = y + gap, gap * 1.35
    slant = random.uniform(-40, 40)
    for x in range(-60, width + 60, _whole(random, low=24, high=50)):
        pen.line((x, horizon, x + slant, height), fill=joint)
    if random.random() < 0.5:
        top = _whole(random, low=horizon, high=height - 10)
        low = top + _whole(random, low=6, high=30)
        pen.rectangle((0, top, width, low), fill=_earth(random, low=60, high=160))


def _bicycle(
    pen: ImageDraw.ImageDraw, left: float, *, size: tuple[int, int], colour: Colour
) -> None:
    width, height = size
    r, y, line = 0.26 * width, 0.86 * height, max(2, width // 40)
    for x in (left + r, left + 2.9 * r):
        pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=line)
    top = y - 1.3 * r
    frame = [(left + r, y), (left + 1.6 * r, top), (left + 2.6 * r, top), (left + 2.9 * r, y)]
    pen.line([*frame, (left + 1.9 * r, y), frame[0]], fill=colour, width=line)


def _whole(random: np.random.Generator, *, low: int, high: int) -> int:
    return int(random.integers(low, high))


def _grey(random: np.random.Generator, *, low: int, high: int) -> Colour:
    tone = _whole(random, low=low, high=high)
    return tone, tone, min(255, tone + _whole(random, low=0, high=12))


def _earth(random: np.random.Generator, *, low: int, high: int) -> Colour:
    """Return a colour of streets: grey with a little warmth or cold."""
    tone, warmth = random.uniform(low, high), random.normal(0, 12)
    red, green, blue = (int(np.clip(tone + shift, 0, 255)) for shift in (warmth, 0, -warmth))
    return red, green, blue
