"""Labels that can hardly be meant are said with an example and what to change."""

from pathlib import Path

import pytest

from pipelines.data.misreading import misreading
from pipelines.data.samples import Dataset, Sample
from pipelines.labels import LabelNames

NAMES = [f"cam{number % 3}_{number // 3:02d}_{number}.jpg" for number in range(12)]  # 4 people


def read_as(pids, camids, name="folder", names=NAMES, **options):
    samples = [Sample(*row) for row in zip(names, pids, camids, strict=False)]
    labels = LabelNames(pids=("ann", "bob"))
    return misreading(Dataset(name, Path("own"), {"gallery": samples}, options, labels=labels))


PEOPLE, CAMERAS = [number // 3 for number in range(12)], [number % 3 for number in range(12)]


def test_labels_that_are_meant_are_not_doubted():
    assert read_as(PEOPLE, CAMERAS) == []
    assert read_as(PEOPLE, [-1] * 12) == []
    assert read_as([0] * 7, range(7)) == [], "of so few images any labels may be meant"
    assert read_as([0] * 12, range(12), name="market1501") == []


def test_one_identity_and_a_camera_for_each_image():
    assert read_as([0] * 12, range(12), pattern="{pid}am{camid}.jpg") == [
        "12 images are read as of one identity and 12 cameras: cam0_00_0.jpg is identity 'ann', "
        "camera '0'. This is hardly meant; change --pattern {pid}am{camid}.jpg, perhaps to "
        "'cam{camid}_{pid}_*'"
    ]


@pytest.mark.parametrize(
    ("pids", "camids", "understood"),
    [
        (range(12), CAMERAS, "of 12 identities and 3 cameras: "),
        ([0] * 12, [-1] * 12, "of one identity: "),
        ([0, 1] * 6, [*range(7), *range(5)], "of 2 identities and 7 cameras: "),
        ([0] * 11 + [1], CAMERAS, ""),
    ],
)
def test_each_kind(pids, camids, understood):
    said = read_as(pids, camids)
    assert bool(said) == bool(understood) and all(understood in text for text in said)


def test_more_cameras_than_identities_where_they_are_many():
    """36 images of 4 people by 9 cameras, and the two exchanged."""
    names = [f"{number}.jpg" for number in range(36)]
    people, cameras = [n // 9 for n in range(36)], [n % 9 for n in range(36)]
    assert "4 identities and 9 cameras" in read_as(people, cameras, names=names)[0]
    assert read_as(cameras, people, names=names) == []


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({}, "say where names hold them: --pattern 'cam{camid}_{pid}_*'"),
        ({"camera_pattern": "(.*)"}, "change --camera-pattern (.*)"),
        ({"table": "a.csv"}, "say which column is which: --columns path=…,pid=…,camid=…"),
        ({"table": "a.csv", "pattern": "{pid}.*"}, "change --pattern {pid}.*, perhaps to"),
    ],
)
def test_the_remedy_is_the_option_that_said_so(options, remedy):
    assert remedy in read_as([0] * 12, CAMERAS, **options)[0]
