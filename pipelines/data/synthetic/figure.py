"""Draws a person of the synthetic data set: limbs, clothes, hair and bags, from far to near."""

import math
from dataclasses import KW_ONLY, dataclass

from PIL import Image, ImageDraw

from .people import Colour, Person, Pose, shade

Point = tuple[float, float, float]  # in body heights: x to their left, y up, z forward
Pixel = tuple[float, float]


@dataclass(eq=False)
class Figure:
    """Draws one person onto an RGB picture: feet at `foot` in pixels, `scale` pixels tall."""

    image: Image.Image
    _: KW_ONLY
    person: Person
    pose: Pose
    foot: Pixel
    scale: float
    light: float  # -1 shades the picture's right side, 1 its left side

    def __post_init__(self) -> None:
        self.pen = ImageDraw.Draw(self.image)
        self.scale *= self.person.height
        self.cos, self.sin = math.cos(self.pose.yaw), math.sin(self.pose.yaw)

    def draw(self) -> None:
        """Draw from the far side to the near side."""
        facing = self.cos > 0
        far = 1 if self.sin < 0 else -1  # the side of the body away from the camera
        back_parts = [self._hair_behind, self._backpack] if facing else []
        front_parts = [] if facing else [self._hair_behind, self._backpack]
        for part in back_parts:
            part()
        self._arm(far)
        self._leg(far)
        self._leg(-far)
        self._trunk()
        self._head()
        for part in front_parts:
            part()
        self._arm(-far)
        self._carried()

    def at(self, point: Point) -> Pixel:
        """Project a body point to pixels: orthographic, the camera looking down a little."""
        x, y, z = point
        depth = z * self.cos - x * self.sin
        return (
            self.foot[0] + self.scale * (x * self.cos + z * self.sin),
            self.foot[1]
            - self.scale * (y * math.cos(self.pose.pitch) - depth * math.sin(self.pose.pitch)),
        )

    def limb(self, a: Point, b: Point, *, radii: tuple[float, float], colour: Colour) -> None:
        """Draw a tapered tube from `a` to `b` with a shaded side."""
        start, end = self.at(a), self.at(b)
        thick, thin = radii[0] * self.scale, radii[1] * self.scale
        self._tube(start, end, radii=(thick, thin), colour=colour)
        shift = -0.45 * self.light
        start = (start[0] + shift * thick, start[1])
        end = (end[0] + shift * thin, end[1])
        self._tube(start, end, radii=(0.55 * thick, 0.55 * thin), colour=shade(colour, 0.8))

    def _tube(
        self, start: Pixel, end: Pixel, *, radii: tuple[float, float], colour: Colour
    ) -> None:
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        across = (-dy / length, dx / length)
        corners = [
            (x + side * across[0] * radius, y + side * across[1] * radius)
            for (x, y), radius, side in (
                (start, radii[0], 1),
                (end, radii[1], 1),
                (end, radii[1], -1),
                (start, radii[0], -1),
            )
        ]
        self.pen.polygon(corners, fill=colour)
        for (x, y), radius in zip((start, end), radii, strict=True):
            self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def _leg(self, side: int) -> None:
        person, swing, thick = self.person, self.person.stride * self.pose.sway, self.person.girth
        phase = self.pose.phase + (0 if side > 0 else math.pi)
        thigh = swing * math.sin(phase)
        bend = swing * max(0.0, math.cos(phase + 0.6))
        hip = (0.052 * side * thick, 0.5, 0.0)
        knee = _swing(hip, 0.235, angle=thigh)
        ankle = _swing(knee, 0.23, angle=thigh - 1.3 * bend)
        toe = (ankle[0] + 0.012 * side, ankle[1] - 0.022, ankle[2] + 0.07)
        self.limb(ankle, toe, radii=(0.026, 0.022), colour=person.shoes)
        if person.lower_style == "trousers":
            self.limb(knee, ankle, radii=(0.042 * thick, 0.034 * thick), colour=person.lower)
        else:
            self.limb(knee, ankle, radii=(0.036 * thick, 0.026 * thick), colour=person.skin)
        self.limb(hip, knee, radii=(0.062 * thick, 0.045 * thick), colour=person.lower)

    def _arm(self, side: int) -> None:
        person, thick = self.person, self.person.girth
        step = math.sin(self.pose.phase + (math.pi if side > 0 else 0))
        swing = 0.8 * person.stride * self.pose.sway * step
        shoulder = (side * (person.shoulders - 0.004), 0.778, 0.0)
        elbow = _swing((shoulder[0] + 0.012 * side, shoulder[1], shoulder[2]), 0.165, angle=swing)
        wrist = _swing(elbow, 0.15, angle=swing + 0.25)
        below = person.upper if person.upper_style in ("long", "jacket", "coat") else person.skin
        above = person.skin if person.upper_style == "vest" else person.upper
        self.limb(elbow, wrist, radii=(0.026 * thick, 0.02 * thick), colour=below)
        self.limb(shoulder, elbow, radii=(0.034 * thick, 0.029 * thick), colour=above)
        self.limb(
            wrist, _swing(wrist, 0.035, angle=swing + 0.3), radii=(0.021, 0.019), colour=person.skin
        )

    def _outline(self, profile: list[tuple[float, float, float]]) -> list[Pixel]:
        """Return the silhouette of a stack of ellipses: (height, half width, half depth)."""
        left, right = [], []
        for y, width, depth in profile:
            x, screen_y = self.at((0.0, y, 0.0))
            half = self.scale * math.hypot(width * self.cos, depth * self.sin)
            left.append((x - half, screen_y))
            right.append((x + half, screen_y))
        return left + right[::-1]

    def _trunk(self) -> None:
        person, thick = self.person, self.person.girth
        hem = [(0.46, 0.1 * thick, 0.075 * thick)]
        if person.lower_style == "skirt":
            hem = [(0.29, 0.12 * thick, 0.1 * thick)]
        below = self._outline([(0.56, 0.088 * thick, 0.068 * thick), *hem])
        self.pen.polygon(below, fill=person.lower)
        bottom = {"coat": 0.36, "jacket": 0.49}.get(person.upper_style, 0.515)
        profile = [
            (0.838, 0.04, 0.036),
            (0.822, 0.7 * person.shoulders, 0.05 * thick),
            (0.795, person.shoulders, 0.06 * thick),
            (0.72, 0.103 * thick + 0.006, 0.075 * thick),
            (0.6, 0.088 * thick, 0.07 * thick),
            (bottom, (0.098 if bottom > 0.4 else 0.112) * thick, 0.08 * thick),
        ]
        self._cloth(self._outline(profile), bottom)
        if person.bag == "shoulder" or (person.bag == "backpack" and self.cos > 0):
            self._straps()
        self.limb(
            (0.0, 0.82, 0.0), (0.0, 0.87, 0.01), radii=(0.032, 0.03), colour=shade(person.skin, 0.9)
        )

    def _cloth(self, outline: list[Pixel], bottom: float) -> None:
        """Fill the upper body with its garment, the pattern cut to the outline, one side dark."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        cloth = Image.new("RGB", self.image.size, self.person.upper)
        pen = ImageDraw.Draw(cloth, "RGBA")
        self._pattern(pen, bottom)
        if self.person.upper_style in ("jacket", "coat"):
            self._strip(pen, 0.0, half=0.35, span=(bottom, 0.84), colour=self.person.accent)
        x = self.at((0.0, 0.7, 0.0))[0]
        left, right = sorted((x - 0.06 * self.light * self.scale, x + self.light * self.scale))
        pen.rectangle((left, 0, right, mask.height), fill=(0, 0, 0, 60))
        self.image.paste(cloth, mask=mask)

    def _pattern(self, pen: ImageDraw.ImageDraw, bottom: float) -> None:
        person, accent = self.person, self.person.accent
        if person.pattern in ("hoops", "check"):
            for step in range(12):
                self._band(pen, bottom + 0.045 * step, thick=0.016, colour=accent)
        if person.pattern in ("stripes", "check"):
            for step in range(16):
                self._strip(pen, step * math.pi / 8, half=0.09, span=(bottom, 0.85), colour=accent)
        if person.pattern == "band":
            self._band(pen, 0.68, thick=0.07, colour=accent)
        if person.pattern == "logo":
            self._strip(pen, 0.0, half=0.45, span=(0.69, 0.75), colour=accent)

    def _band(self, pen: ImageDraw.ImageDraw, y: float, *, thick: float, colour: Colour) -> None:
        x, top = self.at((0.0, y + thick, 0.0))
        low = self.at((0.0, y, 0.0))[1]
        reach = 0.25 * self.scale
        pen.rectangle((x - reach, top, x + reach, low), fill=colour)

    def _strip(
        self,
        pen: ImageDraw.ImageDraw,
        angle: float,
        *,
        half: float,
        span: tuple[float, float],
        colour: Colour,
    ) -> None:
        """Paint what lies at `angle` around the trunk (0: the chest), as far as it is seen."""
        seen = angle + self.pose.yaw
        if math.cos(seen) < 0.1:
            return
        width = math.hypot(0.1 * self.cos, 0.072 * self.sin) * self.person.girth * self.scale
        x, top = self.at((0.0, span[1], 0.0))
        low = self.at((0.0, span[0], 0.0))[1]
        left, right = math.sin(seen - half), math.sin(seen + half)
        pen.rectangle((x + width * left, top, x + width * right, low), fill=colour)

    def _straps(self) -> None:
        width = max(1, round(0.018 * self.scale))
        spread = 0.6 * self.person.shoulders
        if self.person.bag == "shoulder":
            ends = [((-spread, 0.82, 0.03), (spread * 1.6, 0.53, 0.05))]
        else:
            ends = [((s * spread, 0.82, 0.06), (s * spread, 0.62, 0.07)) for s in (-1, 1)]
        for a, b in ends:
            self.pen.line([self.at(a), self.at(b)], fill=self.person.bag_colour, width=width)

    def _head(self) -> None:
        person, (x, y) = self.person, self.at((0.0, 0.925, 0.012))
        r = 0.056 * self.scale
        self.pen.ellipse((x - r, y - 1.18 * r, x + r, y + 1.2 * r), fill=shade(person.skin, 0.94))
        if person.hair_style != "bald":
            self.pen.ellipse(
                (x - 1.06 * r, y - 1.3 * r, x + 1.06 * r, y + 0.75 * r), fill=person.hair
            )
            self._face(x, y, r=r)
        if person.hair_style == "cap":
            self.pen.pieslice(
                (x - 1.15 * r, y - 1.4 * r, x + 1.15 * r, y + 0.9 * r), 180, 360, fill=person.accent
            )
            brim = x + 1.5 * r * self.sin
            if self.cos > -0.3:
                self.pen.ellipse(
                    (brim - 0.8 * r, y - 0.5 * r, brim + 0.8 * r, y - 0.2 * r), fill=person.accent
                )

    def _face(self, x: float, y: float, *, r: float) -> None:
        if self.cos < -0.35:
            return
        half = r * (0.55 + 0.35 * max(self.cos, 0))
        x += 0.5 * r * self.sin
        self.pen.ellipse((x - half, y - 0.75 * r, x + half, y + 1.15 * r), fill=self.person.skin)
        brow = y - 0.05 * r
        for eye in (-0.4, 0.4):
            ex = x + eye * half + 0.3 * r * self.sin
            self.pen.ellipse(
                (ex - 0.12 * r, brow, ex + 0.12 * r, brow + 0.2 * r),
                fill=shade(self.person.skin, 0.45),
            )

    def _hair_behind(self) -> None:
        person = self.person
        if person.hair_style == "long":
            self.limb((0, 0.925, -0.02), (0, 0.8, -0.045), radii=(0.06, 0.056), colour=person.hair)
        if person.hair_style == "tail":
            self.limb((0, 0.94, -0.06), (0, 0.83, -0.07), radii=(0.024, 0.014), colour=person.hair)

    def _backpack(self) -> None:
        if self.person.bag != "backpack":
            return
        colour, z = self.person.bag_colour, -0.105 * self.person.girth
        self.limb((0, 0.77, z), (0, 0.6, z), radii=(0.075, 0.082), colour=colour)
        self.limb(
            (0, 0.64, z * 1.25), (0, 0.6, z * 1.25), radii=(0.05, 0.05), colour=shade(colour, 1.25)
        )

    def _carried(self) -> None:
        person, swing = self.person, 0.1 * math.sin(self.pose.phase)
        if person.bag == "hand" and self.sin < 0.7:
            x = person.shoulders + 0.03
            self.limb(
                (x, 0.42, swing), (x, 0.36, swing), radii=(0.05, 0.062), colour=person.bag_colour
            )
        if person.bag == "shoulder" and self.sin < 0.5:
            x = person.shoulders + 0.005
            self.limb(
                (x, 0.53, -0.01), (x, 0.49, -0.01), radii=(0.055, 0.06), colour=person.bag_colour
            )


def _swing(joint: Point, length: float, *, angle: float) -> Point:
    """Return the far end of a limb that hangs from `joint`, swung forward by `angle`."""
    return (joint[0], joint[1] - length * math.cos(angle), joint[2] + length * math.sin(angle))
