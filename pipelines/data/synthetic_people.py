"""A person of the synthetic data set: what stays the same, how they stand, and how to draw them."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float, float]  # metres-like body units: x to their left, y up, z forward

CLOTHES: dict[str, tuple[Colour, float, float]] = {  # name: colour, weight above, weight below
    "black": ((32, 32, 36), 3.0, 3.0),
    "charcoal": ((72, 74, 80), 1.5, 2.0),
    "grey": ((134, 136, 140), 1.5, 1.5),
    "white": ((226, 226, 222), 2.5, 0.6),
    "navy": ((36, 44, 84), 1.5, 3.0),
    "denim": ((74, 100, 146), 0.8, 3.0),
    "sky": ((130, 170, 210), 0.8, 0.6),
    "red": ((182, 40, 44), 1.2, 0.3),
    "wine": ((106, 30, 46), 0.8, 0.3),
    "pink": ((222, 142, 164), 0.9, 0.3),
    "green": ((50, 116, 72), 0.8, 0.2),
    "olive": ((96, 98, 60), 0.7, 0.8),
    "yellow": ((220, 188, 62), 0.7, 0.1),
    "orange": ((216, 116, 44), 0.5, 0.1),
    "purple": ((106, 70, 140), 0.6, 0.2),
    "brown": ((108, 76, 54), 0.6, 0.8),
    "beige": ((196, 176, 142), 0.8, 1.5),
}
SKIN: tuple[Colour, ...] = ((232, 194, 168), (214, 168, 136), (176, 124, 92), (116, 78, 58))
HAIR: tuple[Colour, ...] = (
    (24, 20, 20),
    (52, 36, 28),
    (96, 64, 40),
    (176, 140, 86),
    (150, 148, 146),
)
SHOES: tuple[Colour, ...] = (
    (30, 30, 32),
    (230, 230, 230),
    (110, 72, 48),
    (170, 46, 50),
    (70, 84, 120),
)


@dataclass(frozen=True)
class Person:
    """One identity: build, skin, hair, clothes and what they carry."""

    height: float  # of the average
    shoulders: float  # half the width of the shoulders, in body heights
    girth: float  # thickness of trunk and limbs, of the average
    skin: Colour
    hair: Colour
    hair_style: str
    upper: Colour
    upper_style: str
    pattern: str
    accent: Colour
    lower: Colour
    lower_style: str
    shoes: Colour
    bag: str
    bag_colour: Colour
    stride: float  # radians, the thigh's largest swing

    @staticmethod
    def draw_lots(random: np.random.Generator) -> "Person":
        """Return a person by chance; muted clothes are the more frequent ones, as in a street."""
        woman = random.random() < 0.5
        upper_style = _pick(random, {"shirt": 4, "long": 3, "jacket": 3, "coat": 1.2, "vest": 0.5})
        lower_style = _pick(random, {"trousers": 5, "shorts": 2, "skirt": 2.5 if woman else 0})
        patterns = {
            "plain": 5,
            "hoops": 1.2,
            "stripes": 0.6,
            "check": 0.8,
            "band": 0.8,
            "logo": 1.6,
        }
        hair_styles = {
            "short": 1 if woman else 6,
            "long": 4 if woman else 0.3,
            "tail": 2 if woman else 0,
        }
        return Person(
            height=float(np.clip(random.normal(0.97 if woman else 1.03, 0.04), 0.85, 1.12)),
            shoulders=float(random.normal(0.108 if woman else 0.122, 0.007)),
            girth=float(np.clip(random.normal(1.0, 0.13), 0.75, 1.4)),
            skin=_shade(SKIN[random.integers(len(SKIN))], random.normal(1, 0.04)),
            hair=_shade(HAIR[random.choice(len(HAIR), p=[0.4, 0.25, 0.15, 0.1, 0.1])], 1.0),
            hair_style=_pick(random, hair_styles | {"cap": 0.6, "bald": 0.1 if woman else 0.6}),
            upper=_cloth(random, 1),
            upper_style=upper_style,
            pattern=_pick(random, patterns),
            accent=_cloth(random, 1),
            lower=_cloth(random, 2),
            lower_style=lower_style,
            shoes=SHOES[random.choice(len(SHOES), p=[0.4, 0.25, 0.15, 0.1, 0.1])],
            bag=_pick(random, {"none": 5, "backpack": 2.5, "shoulder": 1.5, "hand": 1}),
            bag_colour=_cloth(random, 2),
            stride=float(random.uniform(0.3, 0.55)),
        )


@dataclass(frozen=True)
class Pose:
    """How a person stands in one picture."""

    yaw: float  # radians; 0 faces the camera, pi shows the back
    pitch: float  # radians the camera looks down
    phase: float  # of the gait, radians
    sway: float = 1.0  # share of the stride: 0 stands still


class Figure:
    """Draws one person onto an RGB picture: feet at `foot` in pixels, `scale` pixels tall."""

    def __init__(
        self,
        image: Image.Image,
        *,
        person: Person,
        pose: Pose,
        foot: tuple[float, float],
        scale: float,
        light: float,
    ) -> None:
        self.image, self.person, self.pose = image, person, pose
        self.pen = ImageDraw.Draw(image)
        self.foot, self.scale = foot, scale * person.height
        self.light = light  # -1 shades the picture's right side, 1 its left side
        self.cos, self.sin = math.cos(pose.yaw), math.sin(pose.yaw)

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

    def at(self, point: Point) -> tuple[float, float]:
        """Project a body point to pixels: orthographic, the camera looking down a little."""
        x, y, z = point
        depth = z * self.cos - x * self.sin
        return (
            self.foot[0] + self.scale * (x * self.cos + z * self.sin),
            self.foot[1]
            - self.scale * (y * math.cos(self.pose.pitch) - depth * math.sin(self.pose.pitch)),
        )

    def limb(self, a: Point, b: Point, radii: tuple[float, float], colour: Colour) -> None:
        """Draw a tapered tube with a shaded side."""
        (ax, ay), (bx, by) = self.at(a), self.at(b)
        self._tube(ax, ay, bx, by, radii, colour)
        shift = -0.45 * self.light * self.scale
        inner = (radii[0] * 0.55, radii[1] * 0.55)
        self._tube(ax + shift * radii[0], ay, bx + shift * radii[1], by, inner, _shade(colour, 0.8))

    def _tube(
        self, ax: float, ay: float, bx: float, by: float, radii: tuple[float, float], colour: Colour
    ) -> None:
        ra, rb = radii[0] * self.scale, radii[1] * self.scale
        length = math.hypot(bx - ax, by - ay) or 1.0
        nx, ny = (ay - by) / length, (bx - ax) / length
        corners = [
            (ax + nx * ra, ay + ny * ra),
            (bx + nx * rb, by + ny * rb),
            (bx - nx * rb, by - ny * rb),
            (ax - nx * ra, ay - ny * ra),
        ]
        self.pen.polygon(corners, fill=colour)
        self.pen.ellipse((ax - ra, ay - ra, ax + ra, ay + ra), fill=colour)
        self.pen.ellipse((bx - rb, by - rb, bx + rb, by + rb), fill=colour)

    def _leg(self, side: int) -> None:
        person, swing = self.person, self.person.stride * self.pose.sway
        thigh = swing * math.sin(self.pose.phase + (0 if side > 0 else math.pi))
        bend = swing * max(0.0, math.cos(self.pose.phase + (0.6 if side > 0 else 0.6 + math.pi)))
        hip = (0.052 * side * person.girth, 0.5, 0.0)
        knee = _swing(hip, 0.235, thigh)
        ankle = _swing(knee, 0.23, thigh - 1.3 * bend)
        toe = (ankle[0] + 0.012 * side, ankle[1] - 0.022, ankle[2] + 0.07)
        bare = person.lower_style != "trousers"
        thick = person.girth
        self.limb(ankle, toe, (0.026, 0.022), person.shoes)
        self.limb(
            knee, ankle, (0.036 * thick, 0.026 * thick), person.skin if bare else person.lower
        )
        if person.lower_style == "trousers":
            self.limb(knee, ankle, (0.042 * thick, 0.034 * thick), person.lower)
        self.limb(hip, knee, (0.062 * thick, 0.045 * thick), person.lower)

    def _arm(self, side: int) -> None:
        person = self.person
        swing = (
            0.8
            * person.stride
            * self.pose.sway
            * math.sin(self.pose.phase + (math.pi if side > 0 else 0))
        )
        shoulder = (side * (person.shoulders - 0.004), 0.778, 0.0)
        elbow = _swing((shoulder[0] + 0.012 * side, shoulder[1], shoulder[2]), 0.165, swing)
        wrist = _swing(elbow, 0.15, swing + 0.25)
        thick = person.girth
        sleeved = person.upper_style in ("long", "jacket", "coat")
        self.limb(
            elbow, wrist, (0.026 * thick, 0.02 * thick), person.upper if sleeved else person.skin
        )
        bare = person.upper_style == "vest"
        self.limb(
            shoulder, elbow, (0.034 * thick, 0.029 * thick), person.skin if bare else person.upper
        )
        self.limb(wrist, _swing(wrist, 0.035, swing + 0.3), (0.021, 0.019), person.skin)

    def _outline(self, profile: list[tuple[float, float, float]]) -> list[tuple[float, float]]:
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
        if person.lower_style == "skirt":
            hem = 0.29
            self.pen.polygon(
                self._outline(
                    [(0.56, 0.085 * thick, 0.07 * thick), (hem, 0.12 * thick, 0.1 * thick)]
                ),
                fill=person.lower,
            )
        else:
            self.pen.polygon(
                self._outline(
                    [(0.56, 0.09 * thick, 0.065 * thick), (0.46, 0.1 * thick, 0.075 * thick)]
                ),
                fill=person.lower,
            )
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
        neck, chin = (0.0, 0.82, 0.0), (0.0, 0.87, 0.01)
        self.limb(neck, chin, (0.032, 0.03), _shade(person.skin, 0.9))

    def _cloth(self, outline: list[tuple[float, float]], bottom: float) -> None:
        """Fill the upper body with its garment, the pattern cut to the outline."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        cloth = Image.new("RGB", self.image.size, self.person.upper)
        pen = ImageDraw.Draw(cloth)
        self._pattern(pen, bottom)
        if self.person.upper_style in ("jacket", "coat"):
            self._strip(pen, 0.0, 0.35, (bottom, 0.84), self.person.accent)
        x = self.at((0.0, 0.7, 0.0))[0]
        reach = self.scale * 0.2
        dark = Image.new("L", self.image.size)
        side = x + self.light * -0.06 * self.scale
        edge = (
            (side, 0, x + reach, mask.height)
            if self.light > 0
            else (x - reach, 0, side, mask.height)
        )
        ImageDraw.Draw(dark).rectangle(edge, fill=60)
        cloth.paste((0, 0, 0), mask=dark)
        self.image.paste(cloth, mask=mask)
        if self.person.bag == "shoulder" or (self.person.bag == "backpack" and self.cos > 0):
            self._straps()

    def _pattern(self, pen: ImageDraw.ImageDraw, bottom: float) -> None:
        person, accent = self.person, self.person.accent
        if person.pattern in ("hoops", "check"):
            for step in range(12):
                self._band(pen, bottom + 0.045 * step, 0.016, accent)
        if person.pattern in ("stripes", "check"):
            for step in range(16):
                self._strip(pen, step * math.pi / 8, 0.09, (bottom, 0.85), accent)
        if person.pattern == "band":
            self._band(pen, 0.68, 0.07, accent)
        if person.pattern == "logo":
            self._strip(pen, 0.0, 0.45, (0.69, 0.75), accent)

    def _band(self, pen: ImageDraw.ImageDraw, y: float, thick: float, colour: Colour) -> None:
        x, top = self.at((0.0, y + thick, 0.0))
        low = self.at((0.0, y, 0.0))[1]
        reach = 0.25 * self.scale
        pen.rectangle((x - reach, top, x + reach, low), fill=colour)

    def _strip(
        self,
        pen: ImageDraw.ImageDraw,
        angle: float,
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
        self.pen.ellipse((x - r, y - 1.18 * r, x + r, y + 1.2 * r), fill=_shade(person.skin, 0.94))
        if person.hair_style != "bald":
            self.pen.ellipse(
                (x - 1.06 * r, y - 1.3 * r, x + 1.06 * r, y + 0.75 * r), fill=person.hair
            )
            self._face(x, y, r)
        if person.hair_style == "cap":
            self.pen.pieslice(
                (x - 1.15 * r, y - 1.4 * r, x + 1.15 * r, y + 0.9 * r), 180, 360, fill=person.accent
            )
            brim = x + 1.5 * r * self.sin
            if self.cos > -0.3:
                self.pen.ellipse(
                    (brim - 0.8 * r, y - 0.5 * r, brim + 0.8 * r, y - 0.2 * r), fill=person.accent
                )

    def _face(self, x: float, y: float, r: float) -> None:
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
                fill=_shade(self.person.skin, 0.45),
            )

    def _hair_behind(self) -> None:
        person = self.person
        if person.hair_style == "long":
            self.limb((0, 0.925, -0.02), (0, 0.8, -0.045), (0.06, 0.056), person.hair)
        if person.hair_style == "tail":
            self.limb((0, 0.94, -0.06), (0, 0.83, -0.07), (0.024, 0.014), person.hair)

    def _backpack(self) -> None:
        if self.person.bag != "backpack":
            return
        colour, z = self.person.bag_colour, -0.105 * self.person.girth
        self.limb((0, 0.77, z), (0, 0.6, z), (0.075, 0.082), colour)
        self.limb((0, 0.64, z * 1.25), (0, 0.6, z * 1.25), (0.05, 0.05), _shade(colour, 1.25))

    def _carried(self) -> None:
        person, swing = self.person, 0.1 * math.sin(self.pose.phase)
        if person.bag == "hand" and self.sin < 0.7:
            x = person.shoulders + 0.03
            self.limb((x, 0.42, swing), (x, 0.36, swing), (0.05, 0.062), person.bag_colour)
        if person.bag == "shoulder" and self.sin < 0.5:
            x = person.shoulders + 0.005
            self.limb((x, 0.53, -0.01), (x, 0.49, -0.01), (0.055, 0.06), person.bag_colour)


def _swing(joint: Point, length: float, angle: float) -> Point:
    """Return the far end of a limb that hangs from `joint`, swung forward by `angle`."""
    return (joint[0], joint[1] - length * math.cos(angle), joint[2] + length * math.sin(angle))


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (max(0, min(255, round(channel * factor))) for channel in colour)
    return red, green, blue


def _pick(random: np.random.Generator, weights: dict[str, float]) -> str:
    shares = np.array(list(weights.values()), dtype=float)
    return list(weights)[random.choice(len(shares), p=shares / shares.sum())]


def _cloth(random: np.random.Generator, column: int) -> Colour:
    """Return the colour of a garment: 1 above the waist, 2 below, no two dyed quite the same."""
    name = _pick(random, {name: row[column] for name, row in CLOTHES.items()})
    dye = np.array(CLOTHES[name][0]) * random.normal(1, 0.08) + random.normal(0, 6, 3)
    red, green, blue = (int(channel) for channel in np.clip(dye, 12, 240))
    return red, green, blue
