"""What is said of a training's duration, by hand: 1,000 steps of a known length."""

import pytest

from pipelines.training.duration import Estimate, in_words


def said(*, seconds, on_cpu, steps=1000):
    estimate = Estimate(steps, on_cpu=on_cpu)
    found = [estimate.after(now=step * seconds) for step in range(30)]
    return [one for one in found if one is not None]


def test_a_long_training_on_a_cpu_is_offered_another_recipe_once():
    ((text, is_long),) = said(seconds=20.0, on_cpu=True)
    assert is_long and text.startswith("about 5.5 hours to go, by the first 2 steps.")
    assert "--recipe laptop" in text


def test_elsewhere_the_duration_is_enough():
    assert said(seconds=20.0, on_cpu=False) == [
        ("about 5.5 hours to go, by the first 2 steps", False)
    ]
    assert said(seconds=1.0, on_cpu=True) == [
        ("about 17 minutes to go, by the first 8 steps", False)
    ]


def test_of_a_short_one_nothing_is_said():
    assert said(seconds=0.05, on_cpu=True) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(61, "1 minute"), (2400, "40 minutes"), (187200, "52 hours")]
)
def test_in_words(seconds, text):
    assert in_words(seconds) == text
