"""Settings as people write them: recipes (TOML) and `--set`, their names, types and ranges."""

import math
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

from .config import SECTIONS
from .errors import BadInput

RECIPES = Path(__file__).parent / "recipes"
C = TypeVar("C")
USUAL = {  # other programs' names of settings, to say which is meant
    "learning_rate": "lr",
    "base_lr": "lr",
    "batch_size": "batch",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "num_workers": "workers",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "margin": "triplet_margin",
    "num_instances": "instances",
    "embedding_dim": "dim",
    "feat_dim": "dim",
    "k": "neighbours",
    "num_neighbours": "neighbours",
    "neighbors": "neighbours",
    "l": "landmarks",
    "num_landmarks": "landmarks",
    "num_layers": "layers",
    "num_heads": "heads",
    "optim": "optimizer",
    "optimiser": "optimizer",
    "scheduler": "schedule",
    "smoothing": "label_smoothing",
    "random_erasing": "erase",
}
RENAMED = {"prior": "closed_form"}  # settings of earlier versions, still taken
UNUSUAL = re.compile(r"[0-9]_[0-9]|\b0[xob]|[^\x00-\x7f]")  # 1_0, 0x10, digits of other scripts
ANY = math.inf
ENDLESS = 10**12  # what is larger bounds no value that anybody writes
# The least and the largest value of every number; a key's range is the same in all sections but
# where a section is named.
RANGES: dict[str, tuple[float, float]] = {
    "batch": (1, 1_000_000),
    "backbone.batch": (2, 1_000_000),
    "nformer.batch": (2, 1_000_000),
    "center_lr": (0, ANY),
    "center_weight": (0, ANY),
    "clip": (0, ANY),
    "crop": (0, 1),
    "dim": (1, 8192),
    "dropout": (0, 0.99),
    "epochs": (1, 1_000_000),
    "erase": (0, 1),
    "eval_every": (0, 1_000_000),
    "backbone.flip": (0, 1),
    "gamma": (0, 1),
    "heads": (1, 64),
    "height": (8, 8192),
    "extract.height": (0, 8192),
    "held_out": (0, 0.9),
    "instances": (2, 1000),
    "k1": (1, 10_000),
    "k2": (1, 10_000),
    "label_smoothing": (0, 0.99),
    "landmark_draws": (1, 1000),
    "cluster.neighbours": (2, 10_000),
    "landmarks": (1, 10_000),
    "layers": (1, 64),
    "lr": (0, ANY),
    "max_rank": (1, 1_000_000),
    "mean": (-1000, 1000),
    "milestones": (1, 1_000_000),
    "momentum": (0, 0.9999),
    "neighbours": (0, 1_000_000),
    "pad": (0, 1000),
    "scale": (0, 255),
    "seed": (0, 2**62),
    "single_shot": (0, 10_000),
    "std": (1e-6, 1000),
    "steps": (0, 10_000_000),
    "top": (1, 1_000_000),
    "triplet_margin": (0, ANY),
    "triplet_weight": (0, ANY),
    "warmup_epochs": (0, 1_000_000),
    "warmup_factor": (0, 1),
    "warmup_steps": (0, 10_000_000),
    "weight": (0, 1),
    "weight_decay": (0, ANY),
    "width": (8, 8192),
    "extract.width": (0, 8192),
    "workers": (-1, 1024),
}


def allowed(section: str, key: str) -> tuple[float, float]:
    """Return the least and the largest value of a number, both allowed."""
    return RANGES.get(f"{section}.{key}") or RANGES[key]


def values_of(section: str, key: str) -> str:
    """Return in words which values a setting takes."""
    hint = typing.get_type_hints(SECTIONS[section])[key]
    inner = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
    if typing.get_origin(inner) is Literal:
        return ", ".join(map(str, typing.get_args(inner)))
    if inner in (int, float):
        return _limit(*allowed(section, key)) + (" each" if inner is not hint else "")
    return {bool: "true, false"}.get(inner, "text")


def configure(
    section: str,
    *,
    recipe: str | None = None,
    settings: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Return one stage's config: its defaults, then the recipe, then `--set`, then options.

    recipe:   a name in `pipelines/recipes` or a path to a TOML file; None: the defaults.
    settings: `key=value` or `section.key=value`; other sections' keys are skipped.
    options:  what the command line gave explicitly.

    Raises:
        BadInput: an unknown recipe, section or key, or a value of another type.
    """
    table = dict(read_recipe(recipe).get(section, {})) if recipe else {}
    for setting in settings:
        target, key, value = parse_setting(setting, section)
        if target == section:
            table[key] = value
    table.update({key: value for key, value in (options or {}).items() if value is not None})
    return build(SECTIONS[section], table, where=f"[{section}]")


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the program."""
    return sorted(file.stem for file in RECIPES.glob("*.toml"))


def read_recipe(recipe: str) -> dict[str, dict[str, Any]]:
    """Return a recipe's tables by section, each key checked."""
    path = Path(recipe) if recipe.endswith(".toml") else RECIPES / f"{recipe}.toml"
    if not path.is_file():
        raise BadInput(
            f"--recipe {recipe}: no such recipe; known are {', '.join(recipe_names())}, or a path "
            "to a .toml"
        )
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}") from error
    for section, table in tables.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise BadInput(f"{path}: [{section}] is no section; known are {', '.join(SECTIONS)}")
        build(SECTIONS[section], table, where=f"{path} [{section}]")
    return tables


def parse_setting(setting: str, section: str) -> tuple[str, str, Any]:
    """Return section, key and value of `key=value` or `section.key=value`."""
    key, equals, text = setting.partition("=")
    target, _, name = key.strip().rpartition(".")
    target = target or section
    if not equals or target not in SECTIONS:
        raise BadInput(f"--set {setting}: wanted key=value, as in --set epochs=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # TOML's own error, 5,000 digits, 5,000 brackets
        value = text.strip()  # a bare word is a string
    if not isinstance(value, str) and is_unusual_number(text):
        value = text.strip()
    return target, name, value


def is_unusual_number(text: str) -> bool:
    """Return whether a program takes for a number what a person may not have meant as one."""
    return UNUSUAL.search(text) is not None


def build(kind: type[C], table: Mapping[str, Any], *, where: str) -> C:
    """Build a config dataclass from a table, checking every key and the type of every value."""
    hints = typing.get_type_hints(kind)
    table = {RENAMED.get(key, key): value for key, value in table.items()}
    for key in table:
        if key not in hints:
            raise BadInput(f"{where}: {key} is no setting{_known(key, hints)}")
    typed = {key: _typed(value, hints[key], where=f"{where} {key}") for key, value in table.items()}
    section = next(name for name, known in SECTIONS.items() if known is kind)
    for key, value in typed.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                _require_in_range(number, allowed(section, key), where=f"{where} {key}")
    return kind(**typed)


def _known(key: str, known: Iterable[str]) -> str:
    """Return what to say of a name that is not known: the one that is meant, or all."""
    meant = USUAL.get(key.replace("-", "_").lower())
    near = [meant] if meant in (known := list(known)) else get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def _require_in_range(number: float, limits: tuple[float, float], *, where: str) -> None:
    least, largest = limits
    if not (least <= number <= largest and math.isfinite(number)):
        raise BadInput(f"{where}: {number} is out of range; {_limit(*limits)} is wanted")


def _limit(least: float, largest: float) -> str:
    endless = largest > ENDLESS
    return f"at least {least:g}" if endless else f"from {least:g} to {largest:.10g}"


UNLIKE = {
    int: "no whole number",
    float: "no number",
    bool: "neither true nor false",
    str: "no text",
}


def _typed(value: Any, hint: Any, *, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise BadInput(f"{where}: {value!r} is none of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_typed(item, arguments[0], where=where) for item in items)
    if origin is types.UnionType:
        return None if value is None else _typed(value, arguments[0], where=where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        shown = repr(value) if len(repr(value)) <= 60 else f"{value!r:.60}…"
        raise BadInput(f"{where}: {shown} is {UNLIKE[hint]}")
    return value
