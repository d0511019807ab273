"""A person of the synthetic data set: appearance, which stays, and pose, which changes."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Colour = tuple[int, int, int]


class Cloth(NamedTuple):
    """A colour that clothes have, and how often: above and below the waist."""

    colour: Colour
    above: float
    below: float


CLOTHES = {
    "black": Cloth((32, 32, 36), 3.0, 3.0),
    "charcoal": Cloth((72, 74, 80), 1.5, 2.0),
    "grey": Cloth((134, 136, 140), 1.5, 1.5),
    "white": Cloth((226, 226, 222), 2.5, 0.6),
    "navy": Cloth((36, 44, 84), 1.5, 3.0),
    "denim": Cloth((74, 100, 146), 0.8, 3.0),
    "sky": Cloth((130, 170, 210), 0.8, 0.6),
    "red": Cloth((182, 40, 44), 1.2, 0.3),
    "wine": Cloth((106, 30, 46), 0.8, 0.3),
    "pink": Cloth((222, 142, 164), 0.9, 0.3),
    "green": Cloth((50, 116, 72), 0.8, 0.2),
    "olive": Cloth((96, 98, 60), 0.7, 0.8),
    "yellow": Cloth((220, 188, 62), 0.7, 0.1),
    "orange": Cloth((216, 116, 44), 0.5, 0.1),
    "purple": Cloth((106, 70, 140), 0.6, 0.2),
    "brown": Cloth((108, 76, 54), 0.6, 0.8),
    "beige": Cloth((196, 176, 142), 0.8, 1.5),
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
            skin=shade(SKIN[random.integers(len(SKIN))], random.normal(1, 0.04)),
            hair=shade(HAIR[random.choice(len(HAIR), p=[0.4, 0.25, 0.15, 0.1, 0.1])], 1.0),
            hair_style=_pick(random, hair_styles | {"cap": 0.6, "bald": 0.1 if woman else 0.6}),
            upper=_cloth(random, "above"),
            upper_style=upper_style,
            pattern=_pick(random, patterns),
            accent=_cloth(random, "above"),
            lower=_cloth(random, "below"),
            lower_style=lower_style,
            shoes=SHOES[random.choice(len(SHOES), p=[0.4, 0.25, 0.15, 0.1, 0.1])],
            bag=_pick(random, {"none": 5, "backpack": 2.5, "shoulder": 1.5, "hand": 1}),
            bag_colour=_cloth(random, "below"),
            stride=float(random.uniform(0.3, 0.55)),
        )


@dataclass(frozen=True)
class Pose:
    """How a person stands in one picture."""

    yaw: float  # radians; 0 faces the camera, pi shows the back
    pitch: float  # radians the camera looks down
    phase: float  # of the gait, radians
    sway: float = 1.0  # share of the stride: 0 stands still


def shade(colour: Colour, factor: float) -> Colour:
    """Return a colour made darker (below 1) or lighter."""
    red, green, blue = (max(0, min(255, round(channel * factor))) for channel in colour)
    return red, green, blue


def _pick(random: np.random.Generator, weights: dict[str, float]) -> str:
    shares = np.array(list(weights.values()), dtype=float)
    return list(weights)[random.choice(len(shares), p=shares / shares.sum())]


def _cloth(random: np.random.Generator, place: Literal["above", "below"]) -> Colour:
    """Return the colour of a garment above or below the waist, no two dyed quite the same."""
    name = _pick(random, {name: getattr(cloth, place) for name, cloth in CLOTHES.items()})
    dye = np.array(CLOTHES[name].colour) * random.normal(1, 0.08) + random.normal(0, 6, 3)
    red, green, blue = (int(channel) for channel in np.clip(dye, 12, 240))
    return red, green, blue
