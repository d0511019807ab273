"""Every setting of every stage, each default once; recipes (TOML) and `--set` change them."""

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

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


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """`nformer train-backbone` (paper, section 4.2)."""

    arch: str = "resnet50"  # any torchvision classification network that ends in pooled features
    weights: str = "imagenet"  # "imagenet", "none", or a path to a state dict
    last_stage: Literal["dilated", "stride1", "stride2"] = "dilated"  # ResNets only; paper: dilated
    dim: int = 256
    height: int = 256
    width: int = 128
    epochs: int = 160
    batch: int = 128  # images a step: P identities × `instances`
    instances: int = 4  # K images of each identity
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 3e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["multistep", "cosine", "constant"] = "multistep"
    milestones: tuple[int, ...] = (40, 70)
    gamma: float = 0.1
    warmup_epochs: int = 10
    warmup_factor: float = 0.01
    label_smoothing: float = 0.1
    triplet_margin: float = 0.3
    triplet_weight: float = 1.0
    center_weight: float = 5e-4
    center_lr: float = 0.5
    clip: float = 0.0  # largest gradient norm; 0: no clipping
    flip: float = 0.5  # probability of a mirrored image
    pad: int = 0  # pixels of border before a random crop
    erase: float = 0.0  # probability of random erasing
    eval_every: int = 0  # epochs between evaluations on the test split; 0: never
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    compile: bool = False
    workers: int = -1  # decoding threads; -1: one a core, at most 16
    on_bad_image: Literal["fail", "skip"] = "fail"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """`nformer extract`."""

    batch: int = 64
    flip: bool = False  # average the embeddings of the image and of its mirror
    # Of networks that were not trained here; "own", 0 and () are the network's own.
    preset: str = "own"  # take all of these from a published network
    height: int = 0
    width: int = 0
    resize: Literal["own", "bilinear", "bicubic", "lanczos", "nearest"] = "own"
    fit: Literal["own", "stretch", "crop", "pad"] = "own"
    crop: float = 0.0  # the input as a share of the resized image, whose centre is cut out
    channels: Literal["own", "rgb", "bgr"] = "own"
    scale: int = 0  # the value of white, 1 or 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    feature: str = "own"  # which of the network's features: before or after the neck, …
    l2: bool = False  # scale every embedding to length 1
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    workers: int = -1
    on_bad_image: Literal["fail", "skip"] = "fail"


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """`nformer pack`."""

    height: int = BackboneConfig.height
    width: int = BackboneConfig.width
    workers: int = -1
    on_bad_image: Literal["fail", "skip"] = "fail"


@dataclass(frozen=True, kw_only=True)
class NFormerConfig:
    """`nformer train-nformer` (paper, sections 3.2 to 3.4)."""

    closed_form: bool = True  # start from a closed form chosen on held-out identities
    camera_aware: Literal["auto", "on", "off"] = (
        "auto"  # whether the closed form may use camera ids
    )
    layers: int = 4
    heads: int = 2
    neighbours: int = (
        0  # k of the reciprocal neighbour softmax; 0: chosen, 20 without a closed form
    )
    landmarks: int = 5  # l of the landmark agent attention
    landmark_choice: Literal["random", "kmeans", "farthest"] = "random"
    graph: Literal["cosine", "affinity"] = "cosine"
    mask: Literal["reciprocal", "topk", "none"] = "reciprocal"
    affinity: Literal["landmarks", "exact"] = "landmarks"
    dropout: float = 0.1
    batch: int = 2048  # embeddings a step
    sampler: Literal["neighbourhood", "identity"] = "identity"
    instances: int = 16  # K embeddings of each identity in an identity batch
    steps: int = 0  # 0: 400; on a closed form as many as take about a minute, at most 400
    optimizer: Literal["sgd", "adam"] = "adam"
    lr: float = 3.5e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["multistep", "cosine", "constant"] = "cosine"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_steps: int = 20
    warmup_factor: float = 0.01
    label_smoothing: float = 0.1
    triplet_margin: float = 0.3
    triplet_weight: float = 1.0
    center_weight: float = 5e-4
    center_lr: float = 0.5
    clip: float = 0.0
    held_out: float = 0.15  # share of the training identities kept for validation
    eval_every: int = 25  # steps between held-out checks
    amp: Literal["auto", "off", "bf16"] = "auto"  # how linear layers multiply in training
    seed: int = 0

    def settled(self) -> "NFormerConfig":
        """Return the config with what was left open decided as for a plain NFormer."""
        return dataclasses.replace(self, neighbours=self.neighbours or 20, steps=self.steps or 400)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """`nformer evaluate`."""

    protocol: Literal["isolated", "joint", "paper"] = "isolated"
    rules: str = "auto"  # whom a query is compared with, by name; "auto": the data set's usual
    rerank: tuple[str, ...] = ()  # "kr", …
    refine: tuple[str, ...] = ("nformer",)  # "auto": what held-out training identities recommend
    camera_aware: Literal["auto", "on", "off"] = "auto"  # whether NFormer may use camera ids here
    neighbours: int = 0  # 0: as the model was trained
    assume: Literal["auto", "same", "foreign"] = "auto"  # whether the gallery is like training
    landmarks: Literal["random", "kmeans", "farthest"] = "random"
    landmark_draws: int = 1
    average_draws: bool = False
    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    max_rank: int = 50
    top: int = 100  # list length kept in ranking.h5
    every: bool = False  # every refiner and re-ranking there is (--all)
    search: Literal[  # how neighbours are found
        "auto", "exact", "numpy", "torch", "faiss", "ivf", "hnsw", "ivfpq", "cagra"
    ] = "auto"
    open_set: bool = False  # true positive rates at false positive rates of 0.1 % and 1 %
    single_shot: int = 0  # draws of a gallery with one image an identity (CUHK03); 0: none
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """`nformer cluster`."""

    method: Literal["agglomerative", "components", "hdbscan", "leiden", "infomap"] = "agglomerative"
    neighbours: int = 32  # of each row in the graph
    embeddings: Literal["auto", "plain", "refined"] = "auto"  # auto: by held-out identities
    search: Literal[  # how neighbours are found
        "auto", "exact", "numpy", "torch", "faiss", "ivf", "hnsw", "ivfpq", "cagra"
    ] = "auto"
    seed: int = 0


def require_papers_model(protocol: str, *, kind: str) -> None:
    """Raise BadInput where the paper's protocol is asked of a model that is no plain NFormer.

    kind: what the model is, as its manifest has it.
    """
    if protocol == "paper" and "closed form" in kind:
        raise BadInput(
            f"protocol paper is that of the paper's NFormer; this model is of another kind "
            f"({kind}). Train one with train-nformer --recipe paper or --no-closed-form, or take "
            "the protocol isolated or joint"
        )


SECTIONS: dict[str, type] = {
    "backbone": BackboneConfig,
    "extract": ExtractConfig,
    "pack": PackConfig,
    "nformer": NFormerConfig,
    "evaluate": EvaluateConfig,
    "cluster": ClusterConfig,
}


ANY = math.inf
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


def require_section(section: str) -> None:
    """Raise BadInput where no stage has such settings."""
    if section not in SECTIONS:
        raise BadInput(f"{section} is no stage with settings; known are {', '.join(SECTIONS)}")


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
    return target, name, value


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
    return f"at least {least:g}" if largest == ANY else f"from {least:g} to {largest:.10g}"


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


def as_table(config: Any) -> dict[str, Any]:
    """Return a config as a JSON-able table, as manifests record it."""
    table = dataclasses.asdict(config)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in table.items()}
