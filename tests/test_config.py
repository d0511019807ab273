"""Defaults, recipes and --set."""

import pytest

from pipelines.config import BackboneConfig, NFormerConfig, as_table, configure
from pipelines.errors import BadInput


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
        (["stops=3"], "stops is no setting; known are affinity"),
        (["steps=many"], "'many' is no int"),
        (["steps=2.5"], "2.5 is no int"),
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
