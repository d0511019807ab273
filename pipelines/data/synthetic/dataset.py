"""A drawn data set in Market-1501's layout: seeded people under seeded cameras, no download.

folder/bounding_box_train/   0002_c1s1_000451_03.jpg …
folder/query/                one image of each test identity and camera
folder/bounding_box_test/    the other test images, junk (-1_…) and distractors (0000_…)
folder/synthetic.json        what it was drawn from; written last
"""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ...errors import BadInput
from ...files import named_disk_errors, write_text
from ...progress import Progress, Silent
from ...seeding import numpy_generator
from ..market1501 import read_market1501
from ..samples import Dataset
from .cameras import Camera
from .figure import Figure
from .people import Person, Pose

RENDERER = 1  # raised when the same settings draw other pictures
RECORD = "synthetic.json"
TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
SPLITS = (TRAIN, QUERY, GALLERY)
UNFINISHED = ".synthetic-unfinished"  # stands in the folder while it is drawn
FINE = 3  # drawn this much larger, then reduced: soft edges


@dataclass(frozen=True)
class Shot:
    """One picture to draw: which file, who (-1 junk, 0 nobody), which camera, which frame."""

    split: str
    name: str
    pid: int
    camera: int  # from 1
    frame: int  # of the track; the same track has the same gait and light


def write_synthetic(
    folder: str | Path,
    *,
    seed: int = 0,
    train_identities: int = 80,
    test_identities: int = 60,
    cameras: int = 6,
    images: int = 16,
    height: int = 128,
    width: int = 64,
    progress: Progress = Silent(),
) -> Path:
    """Draw a data set in Market-1501's layout and return its folder.

    images: pictures of an identity, all cameras together, in the mean.

    The same arguments draw the same bytes on the same machine. A folder that holds this very data
    set already is left as it is.

    Raises:
        BadInput: the folder holds something else, or an argument is out of range.
    """
    folder = Path(folder)
    identities = train_identities, test_identities
    people = dict(train_identities=train_identities, test_identities=test_identities)
    sizes = dict(cameras=cameras, images=images, height=height, width=width)
    settings = {"renderer": RENDERER, "seed": seed, **people, **sizes}
    _require(settings)
    if _is_drawn(folder, settings):
        progress.message(f"{folder} is up to date")
        return folder
    shots = list(plan(seed, identities=identities, cameras=cameras, images=images))
    studio = Studio(seed, cameras=cameras, size=(width, height))
    with named_disk_errors(folder), progress.task("draw", len(shots), unit="images") as task:
        for split in SPLITS:
            (folder / UNFINISHED / split).mkdir(parents=True)
        for shot in shots:
            picture, quality = studio.draw(shot)
            picture.save(folder / UNFINISHED / shot.split / shot.name, quality=quality)
            task.advance()
        for split in SPLITS:
            (folder / UNFINISHED / split).rename(folder / split)
        write_text(folder / RECORD, json.dumps(settings, indent=2) + "\n")
        (folder / UNFINISHED).rmdir()
    return folder


def plan(seed: int, *, identities: tuple[int, int], cameras: int, images: int) -> Iterator[Shot]:
    """Yield every picture of the data set, in a fixed order."""
    random = numpy_generator(seed, "synthetic", "plan")
    pids = 1 + random.permutation(sum(identities))
    low, high = max(2, images // 2), images + images // 2  # of each identity
    counts = random.integers(low, high + 1, sum(identities)).tolist()
    for pid in sorted(pids[: identities[0]].tolist()):
        yield from _identity(random, pid, cameras=cameras, images=counts[pid - 1], test=False)
    extras = identities[1] * images
    for pid in sorted(pids[identities[0] :].tolist()):
        yield from _identity(random, pid, cameras=cameras, images=counts[pid - 1], test=True)
    for number in range(extras // 20):
        camera = int(random.integers(1, cameras + 1))
        yield Shot(GALLERY, f"-1_c{camera}s1_{number * 25 + 1:06d}_01.jpg", -1, camera, number)
    for number in range(extras // 10):
        camera = int(random.integers(1, cameras + 1))
        yield Shot(GALLERY, f"0000_c{camera}s1_{number * 25 + 1:06d}_01.jpg", 0, camera, number)


def _identity(
    random: np.random.Generator, pid: int, *, cameras: int, images: int, test: bool
) -> Iterator[Shot]:
    """Yield one identity's pictures: seen by some of the cameras, some frames at each."""
    seen = int(random.integers(min(cameras, max(2, cameras // 2)), min(cameras, images) + 1))
    chosen = np.sort(random.permutation(cameras)[:seen] + 1)
    for number, camera in enumerate(chosen.tolist()):
        frames = images // seen + (number < images % seen)
        sequence, start = int(random.integers(1, 7)), int(random.integers(1, 90000))
        asked = int(random.integers(frames)) if test else -1
        for frame in range(frames):
            split = (QUERY if frame == asked else GALLERY) if test else TRAIN
            box = 0 if split == QUERY else int(random.integers(1, 5))
            name = f"{pid:04d}_c{camera}s{sequence}_{start + 25 * frame:06d}_{box:02d}.jpg"
            yield Shot(split, name, pid, camera, frame)


class Studio:
    """Holds the cameras and draws shots."""

    def __init__(self, seed: int, *, cameras: int, size: tuple[int, int]) -> None:
        self.seed, self.size = seed, size
        self.cameras = {n: Camera.draw_lots(seed, n) for n in range(1, cameras + 1)}

    def draw(self, shot: Shot) -> tuple[Image.Image, int]:
        """Return a shot's picture and the quality to save it at."""
        camera = self.cameras[shot.camera]
        track = self._random("track", shot.pid, shot.camera)
        gait = Gait.draw_lots(track, camera)
        random = self._random("frame", shot.pid, shot.camera, shot.frame)
        image = camera.background((self.size[0] * FINE, self.size[1] * FINE), random)
        if random.random() < 0.2:
            self._passer_by(image, camera, random=random, behind=True)
        if shot.pid > 0:
            person, pose = self._random("person", shot.pid), gait.pose(shot.frame, random)
            self._stand(image, person, pose=pose, camera=camera, loose=camera.loose, random=random)
        elif shot.pid < 0 or random.random() < 0.5:
            person = self._random("stranger", shot.camera, shot.frame)
            pose = Gait.draw_lots(random, camera).pose(0, random)
            loose = 0.3 if shot.pid < 0 else 0.12
            self._stand(image, person, pose=pose, camera=camera, loose=loose, random=random)
        if random.random() < camera.clutter:
            if random.random() < 0.4:
                self._passer_by(image, camera, random=random, behind=False)
            else:
                camera.obstruct(image, random)
        picture = image.resize(self.size, Image.Resampling.BOX)
        return camera.develop(picture, gain=gait.gain, random=random), camera.quality

    def _stand(
        self,
        image: Image.Image,
        appearance: np.random.Generator,
        *,
        pose: Pose,
        camera: Camera,
        loose: float,
        random: np.random.Generator,
    ) -> None:
        """Draw a person where a detector that is off by about `loose` of the height sees them."""
        person = Person.draw_lots(appearance)
        width, height = image.size
        scale = height * 0.92 * (1 + abs(random.normal(0, 1.3 * loose)))
        x = width * (0.5 + random.normal(0, 1.5 * loose))
        y = height * (0.97 + random.normal(0, loose)) + 0.5 * (scale - 0.92 * height)
        _shadow(image, (x, y), scale=scale, camera=camera)
        scale *= (1 + 0.35 * (person.height - 1)) / person.height  # crops are of nearly one size
        Figure(image, person=person, pose=pose, foot=(x, y), scale=scale, light=camera.light).draw()

    def _passer_by(
        self, image: Image.Image, camera: Camera, *, random: np.random.Generator, behind: bool
    ) -> None:
        width, height = image.size
        person = Person.draw_lots(random)
        pose = Gait.draw_lots(random, camera).pose(0, random)
        side = float(random.choice([-1, 1]))
        reach = random.uniform(0.3, 0.6) if behind else random.uniform(0.42, 0.6)
        scale = height * (random.uniform(0.45, 0.75) if behind else random.uniform(0.95, 1.15))
        foot = (width * (0.5 + side * reach), height * (0.8 if behind else 1.03))
        Figure(image, person=person, pose=pose, foot=foot, scale=scale, light=camera.light).draw()

    def _random(self, *name: str | int) -> np.random.Generator:
        return numpy_generator(self.seed, "synthetic", *name)


@dataclass(frozen=True)
class Gait:
    """What the frames of one person at one camera share."""

    yaw: float
    pitch: float
    phase: float
    sway: float
    gain: float  # sun or shade, this day

    @staticmethod
    def draw_lots(random: np.random.Generator, camera: Camera) -> "Gait":
        """Return a gait: most people go the camera's way, some come back, some stand."""
        turned = math.pi if random.random() < 0.25 else 0.0
        return Gait(
            yaw=camera.yaw + turned + random.normal(0, 0.35),
            pitch=camera.pitch,
            phase=random.uniform(0, 2 * math.pi),
            sway=float(random.choice([0.15, 1.0], p=[0.2, 0.8])),
            gain=float(np.exp(random.normal(0, 0.1))),
        )

    def pose(self, frame: int, random: np.random.Generator) -> Pose:
        """Return the pose after `frame` steps."""
        yaw = self.yaw + 0.12 * frame + random.normal(0, 0.12)
        return Pose(yaw, self.pitch, self.phase + 1.1 * frame + random.normal(0, 0.3), self.sway)


def _shadow(image: Image.Image, foot: tuple[float, float], *, scale: float, camera: Camera) -> None:
    (x, y), reach = foot, 0.16 * scale * camera.light
    left, right = sorted((x - 0.4 * reach, x + 1.6 * reach))
    box = (left, y - 0.02 * scale, right, y + 0.025 * scale)
    ImageDraw.Draw(image, "RGBA").ellipse(box, fill=(20, 20, 24, 110))


def _require(settings: dict[str, int]) -> None:
    least = {"train_identities": 2, "test_identities": 2, "cameras": 2, "images": 4}
    least |= {"height": 32, "width": 16}
    for name, bound in least.items():
        if settings[name] < bound:
            raise BadInput(f"{name} is {settings[name]}; a data set needs at least {bound}")
    if settings["train_identities"] + settings["test_identities"] > 9999:
        raise BadInput("Market-1501's file names have room for 9999 identities")


def read_synthetic(root: Path) -> Dataset:
    """Read a drawn data set: Market-1501's layout under its own name."""
    return replace(read_market1501(root), name="synthetic")


def remove_drawn(folder: Path) -> None:
    """Remove a data set that `write_synthetic` drew, whole or not, and nothing else."""
    if (folder / RECORD).is_file() or (folder / UNFINISHED).is_dir():
        for name in (*SPLITS, UNFINISHED):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / RECORD).unlink(missing_ok=True)


def _is_drawn(folder: Path, settings: dict[str, int]) -> bool:
    """Return whether `folder` holds this very data set; BadInput when it holds something else.

    What an interrupted drawing left is removed.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise BadInput(f"{folder} is a file; the data set needs a folder")
    if (folder / UNFINISHED).is_dir():
        remove_drawn(folder)
    record = folder / RECORD
    with suppress(ValueError):
        if record.is_file() and json.loads(record.read_text(encoding="utf-8")) == settings:
            return True
    if any(folder.iterdir()):
        raise BadInput(f"{folder} holds something else already; name a new or an empty folder")
    return False
