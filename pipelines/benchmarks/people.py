"""Synthetic embeddings of people, with adjustable difficulty."""

from dataclasses import dataclass, replace

import numpy as np

from ..embeddings import Embeddings


@dataclass(frozen=True, kw_only=True)
class People:
    """How embeddings are drawn: a network's last rectified layer, of people seen by cameras.

    person, view, camera, passage, noise: how strongly a row depends on who it is, on the pose, on
    the camera, on the one passage before a camera, and on chance.
    own:     share of the pose's effect that differs from person to person.
    mixed:   share of the noise that lies along directions in which persons differ.
    shift:   how far cameras and poses of the test set differ from those of training, 0 to 1.
    outlier: share of rows that hold little of the person.
    layout:  "market": a query of each person and camera; "cameras": queries of the first camera,
             the gallery of the others; "all": every row is both.
    """

    train: int = 37
    test: int = 37
    cameras: int = 2
    seen_by: int = 0  # cameras that see a person; 0: all
    images: int = 16
    test_images: int = 0  # 0: as in training
    width: int = 512
    person: float = 1.0
    view: float = 1.0
    camera: float = 0.3
    passage: float = 0.5
    noise: float = 0.5
    own: float = 0.5
    mixed: float = 0.3
    shift: float = 0.0
    outlier: float = 0.0
    layout: str = "market"


DIRECTIONS, POSES, OWN_POSES, PASSAGES = 60, 12, 4, 40  # of the latent factors
STEEPNESS = 0.7  # of the spectrum in which persons differ


class World:
    """The directions along which rows differ, drawn once for training and test."""

    def __init__(self, people: People, random: np.random.Generator) -> None:
        width = people.width
        self.people, self.random = people, random
        self.persons = _directions(random, DIRECTIONS, width=width, slope=STEEPNESS)
        self.poses = _directions(random, POSES, width=width, slope=0.5)
        self.passages = self.persons[random.permutation(DIRECTIONS)[:PASSAGES]]
        self.passages = self.passages * np.sqrt(DIRECTIONS / PASSAGES)
        self.chance = _directions(random, width, width=width, slope=0.5)
        self.base = 0.6 * random.normal(size=width) + 0.3
        self.offsets = random.normal(size=(people.cameras, width))

    def moved(self) -> "World":
        """Return the world of the test set: other cameras and poses, as far as the shift goes."""
        kept, new = np.sqrt(1 - self.people.shift**2), self.people.shift
        other = object.__new__(World)
        other.__dict__.update(self.__dict__)
        other.offsets = kept * self.offsets + new * self.random.normal(size=self.offsets.shape)
        fresh = _directions(self.random, POSES, width=self.people.width, slope=0.5)
        other.poses = kept * self.poses + new * fresh
        return other

    def draw(self, persons: int, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return features [N, d], persons [N] and cameras [N]."""
        features, pids, camids = [], [], []
        seen_by = self.people.seen_by or self.people.cameras
        for person in range(persons):
            who = self.people.person * self.random.normal(size=DIRECTIONS) @ self.persons
            own_poses = self.random.normal(size=(OWN_POSES, DIRECTIONS)) @ self.persons / 2
            cameras = self.random.choice(self.people.cameras, seen_by, replace=False)
            seen, counts = np.unique(np.resize(cameras, images), return_counts=True)
            for camera, count in zip(seen.tolist(), counts.tolist(), strict=True):
                features.append(self._passage(who, own_poses, camera=camera, count=count))
                pids += [person] * count
                camids += [camera] * count
        return np.concatenate(features), np.array(pids), np.array(camids)

    def _passage(
        self, who: np.ndarray, own_poses: np.ndarray, *, camera: int, count: int
    ) -> np.ndarray:
        """Return the rows of one person before one camera: [count, d]."""
        people, normal = self.people, self.random.normal
        rows = self.base + who + people.camera * self.offsets[camera]
        rows = rows + people.passage * normal(size=PASSAGES) @ self.passages
        poses = np.sqrt(1 - people.own) * normal(size=(count, POSES)) @ self.poses
        poses += np.sqrt(people.own) * normal(size=(count, OWN_POSES)) @ own_poses
        chance = np.sqrt(1 - people.mixed) * normal(size=(count, people.width)) @ self.chance
        chance += np.sqrt(people.mixed) * normal(size=(count, DIRECTIONS)) @ self.persons
        rows = rows + people.view * poses + people.noise * chance
        lost = self.random.random(count) < people.outlier
        blurred = self.base + 0.2 * (rows - self.base) + 0.9 * normal(size=rows.shape)
        rectified: np.ndarray = np.maximum(np.where(lost[:, None], blurred, rows), 0)
        return rectified


def draw_people(people: People, *, seed: int) -> tuple[Embeddings, Embeddings, Embeddings]:
    """Return training, query and gallery embeddings, the same for the same seed."""
    world = World(people, np.random.default_rng(seed))
    train = world.draw(people.train, people.images)
    features, pids, camids = world.moved().draw(people.test, people.test_images or people.images)
    query = np.ones(len(pids), bool)
    gallery = query
    if people.layout == "cameras":
        query, gallery = camids == 0, camids != 0
    elif people.layout == "market":
        query = np.zeros(len(pids), bool)
        query[np.unique(np.stack([pids, camids]), axis=1, return_index=True)[1]] = True
        gallery = ~query
    parts = [
        Embeddings(features[part], pids[part] + people.train, camids[part])
        for part in (query, gallery)
    ]
    return Embeddings(*train), parts[0], parts[1]


def _directions(random: np.random.Generator, count: int, *, width: int, slope: float) -> np.ndarray:
    """Return directions [count, width] whose lengths fall as a power of their number."""
    lengths = np.arange(1, count + 1) ** -slope
    lengths /= np.sqrt((lengths**2).mean() * count)
    return random.normal(size=(count, width)) * lengths[:, None]


FEW = People(train=16, test=16, cameras=6, seen_by=4, images=36, own=0.9, mixed=0.8)
MANY = People(train=632, test=450, cameras=2, images=2, person=1.3, mixed=0.6, own=0.6)
SETS: dict[str, People] = {
    "few persons, six cameras": replace(
        FEW, person=1.2, view=0.8, camera=0.2, noise=0.6, outlier=0.03
    ),
    "few persons, outliers": replace(
        FEW, person=1.4, seen_by=3, view=0.8, camera=0.1, passage=0.6, noise=0.8, outlier=0.08
    ),
    "strong poses, two cameras": People(
        view=1.6, camera=0.6, passage=0.6, noise=0.4, own=0.25, mixed=0.0
    ),
    "strong poses, cameras shift": People(
        view=1.3, camera=0.8, passage=0.4, own=0.4, mixed=0.0, shift=0.5, width=256
    ),
    "two images, camera to camera": replace(
        MANY, view=0.7, camera=0.3, passage=0.8, layout="cameras"
    ),
    "two images, other cameras": replace(
        MANY, view=0.6, camera=0.3, passage=0.7, shift=0.8, layout="cameras"
    ),
    "two images, both ways": replace(
        MANY, person=1.4, camera=0.4, view=0.5, mixed=0.8, own=0.7, shift=0.8, layout="all"
    ),
    "eight images, width 128": People(
        train=80, test=120, cameras=4, images=8, person=1.2, view=0.7, own=0.7, mixed=0.6,
        outlier=0.05, width=128,
    ),
    "twelve images, six cameras": People(
        train=60, test=90, cameras=6, seen_by=4, images=12, person=1.2, view=0.7, passage=0.6,
        own=0.7, mixed=0.6, outlier=0.05, shift=0.3,
    ),
    "eight to 24 images": People(
        train=50, test=40, cameras=3, images=8, test_images=24, person=1.2, view=0.8, camera=0.2,
        passage=0.6, own=0.7, mixed=0.6,
    ),
    "24 to six images": People(
        train=50, test=80, cameras=3, images=24, test_images=6, person=1.2, view=0.8, camera=0.2,
        passage=0.6, own=0.7, mixed=0.6,
    ),
    "two images to ten persons of 24": replace(
        MANY, test=10, test_images=24, view=0.7, camera=0.3, passage=0.8
    ),
    "24 images to one": People(
        train=50, test=200, images=24, test_images=2, person=1.2, view=0.8, camera=0.2,
        passage=0.6, own=0.7, mixed=0.6, layout="cameras",
    ),
    "ten images, width 1280": People(
        train=30, test=60, images=10, person=1.2, camera=0.4, passage=0.4, noise=0.6, width=1280
    ),
}  # fmt: skip
