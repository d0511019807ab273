"""Defaults, recipes and --set."""

import dataclasses
import re

import pytest

from pipelines.config import SECTIONS, BackboneConfig, NFormerConfig, as_table
from pipelines.errors import BadInput
from pipelines.settings import allowed, configure


def test_options_beat_settings_beat_recipe_beat_defaults(tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[nformer]\nsteps = 7\nheads = 4\nlr = 1\n[backbone]\nepochs = 3\n")
    config = configure(
        "nformer",
        recipe=str(recipe),
        settings=["heads=1", "backbone.epochs=9", "nformer.layers=2"],
        options={"layers": 3},
    )
    assert (config.steps, config.heads, config.layers, config.lr) == (7, 1, 3, 1.0)
    assert config.batch == NFormerConfig.batch
    assert configure("backbone", recipe=str(recipe)).epochs == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["steps"], "wanted key=value"),
        (["stops=3"], "stops is no setting; did you mean steps?"),
        (["learning_rate=3"], "learning_rate is no setting; did you mean lr?"),
        (["Batch-Size=3"], "Batch-Size is no setting; did you mean batch?"),
        (["margin=3"], "margin is no setting; did you mean triplet_margin?"),
        (["xyz=3"], "xyz is no setting; known are affinity"),
        (["steps=many"], "'many' is no whole number"),
        (["steps=2.5"], "2.5 is no whole number"),
        (["steps=1_0"], "'1_0' is no whole number"),
        (["steps=0x10"], "'0x10' is no whole number"),
        (["lr=1_0.5"], "'1_0.5' is no number"),
        (["milestones=[1_0, 20]"], "1_0, 20.' is no whole number"),
        (["graph=euclid"], "'euclid' is none of 'cosine', 'affinity'"),
        (["forest.trees=3"], "wanted key=value"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(BadInput, match=message):
        configure("nformer", settings=settings)


def test_an_unknown_recipe_lists_the_known(tmp_path):
    with pytest.raises(BadInput, match="no such recipe; known are"):
        configure("nformer", recipe="papper")
    broken = tmp_path / "broken.toml"
    broken.write_text("[nformer\n")
    with pytest.raises(BadInput, match="is not TOML"):
        configure("nformer", recipe=str(broken))


def test_tuples_from_toml_and_back_to_json():
    config = configure("backbone", settings=["milestones=[1,2]", "arch=resnet18"])
    assert config.milestones == (1, 2)
    assert config.arch == "resnet18"
    assert as_table(config)["milestones"] == [1, 2]
    assert as_table(BackboneConfig())["dim"] == 256


def test_every_number_has_a_range_that_holds_its_default():
    for section, kind in SECTIONS.items():
        for field in dataclasses.fields(kind):
            values = field.default if isinstance(field.default, tuple) else (field.default,)
            for value in values:
                if isinstance(value, int | float) and not isinstance(value, bool):
                    least, largest = allowed(section, field.name)
                    assert least <= value <= largest, (section, field.name)


@pytest.mark.parametrize(
    ("section", "setting", "said"),
    [
        ("nformer", "eval_every=-1", "eval_every: -1 is out of range; from 0 to"),
        ("nformer", "lr=nan", "lr: nan is out of range; at least 0 is wanted"),
        ("backbone", "lr=inf", "lr: inf is out of range"),
        ("backbone", "weight_decay=-1", "weight_decay: -1.0 is out of range"),
        ("backbone", "batch=1", "batch: 1 is out of range; from 2 to"),
        ("backbone", "dim=0", "dim: 0 is out of range; from 1 to 8192"),
        ("backbone", "milestones=[40, -1]", "milestones: -1 is out of range"),
        ("nformer", "label_smoothing=2", "label_smoothing: 2.0 is out of range"),
        ("pack", "height=100000", "height: 100000 is out of range; from 8 to 8192"),
    ],
)
def test_a_number_out_of_its_range_is_refused(section, setting, said):
    with pytest.raises(BadInput, match=re.escape(said)):
        configure(section, settings=[setting])


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 5000, "'" * 3])
def test_values_that_toml_chokes_on_are_refused_or_text(text):
    with pytest.raises(BadInput):
        configure("backbone", settings=[f"epochs={text}"])
