"""Options that several commands share, and the settings that the user's options make."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from pipelines.config import SECTIONS
from pipelines.flow import AT_WORK
from pipelines.settings import configure, recipe_names

DEFAULT_RUN = Path("runs/default")
DEFAULT_ROOT = Path("data")
DEFAULT_ROOTS = [DEFAULT_ROOT]


def at_work(run: Path) -> Path:
    """Return the run's folder, which from now on stands in the commands that messages name."""
    AT_WORK.set(str(run))
    return run


Run = Annotated[
    Path,
    typer.Option(
        "--run", metavar="DIR", envvar="NFORMER_RUN", help="The run's folder.", callback=at_work
    ),
]


def checked_rules(name: str) -> str:
    """Return the name of rules; BadInput, with the list, where there are none of it."""
    if name:
        from pipelines.ranking.rules import AUTO, rules_named

        if name != AUTO:
            rules_named(name)
    return name


def checked_device(name: str) -> str:
    """Return a device's name; BadInput where it is none, before PyTorch is loaded."""
    from pipelines.device import require_device_name

    require_device_name(name)
    return name


Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        callback=checked_device,
        help="auto, cpu, cuda, cuda:1 or mps.",
    ),
]
Rules = Annotated[
    str,
    typer.Option(
        "--rules",
        metavar="NAME",
        callback=checked_rules,
        help="Whom a query is compared with: market1501, retrieval, vehicleid… (nformer manual "
        "rules).",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
Runs = Annotated[
    list[Path] | None,
    typer.Option(
        "--run", metavar="DIR", envvar="NFORMER_RUN", help="The run's folder; may be repeated."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what was made with other settings.")
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help=f"Settings by name ({', '.join(recipe_names())}), or a .toml file.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated."),
]
Log = Annotated[
    str,
    typer.Option(
        "--log", metavar="tensorboard", help="Write files for TensorBoard too, beside train.jsonl."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout.")]

# Of the commands that read a data set's images.
Dataset = Annotated[
    str,
    typer.Argument(
        help="market1501, …: see nformer datasets. Your own pictures: folder, or csv for a table."
    ),
]
Datasets = Annotated[
    list[str],
    typer.Argument(
        metavar="DATASET...",
        help="market1501, …: see nformer datasets; several are trained on as one. Your own "
        "pictures: folder, or csv for a table.",
    ),
]
Roots = Annotated[
    list[Path],
    typer.Option(
        "--root",
        metavar="DIR",
        envvar="NFORMER_DATA",
        help="The data set's folder, or its parent; for csv, the table. Of several: one for all, "
        "or one each.",
    ),
]
Root = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        envvar="NFORMER_DATA",
        help="The data set's folder, or its parent; for csv, the table.",
    ),
]
Moved = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Where the pictures lie now, if they were moved: the folder that their names start "
        "from. The run remembers it.",
    ),
]
# Of the commands that embed pictures.
Arch = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="A network used as it is, not trained here; needs --weights."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|imagenet", help="The weights for --arch; imagenet: those published with it."
    ),
]
Onnx = Annotated[Path | None, typer.Option(metavar="FILE", help="An ONNX network to embed with.")]
Workers = Annotated[
    int,
    typer.Option(metavar="N", help="Threads that read images; -1: one for each core, at most 16."),
]
OnBadImage = Annotated[
    str, typer.Option(metavar="fail|skip", help="Stop at an unreadable image, or leave it out.")
]

# Of the commands that train a backbone.
TrainedArch = Annotated[
    str,
    typer.Option(metavar="NAME", help="A torchvision network, abdnet, osnet_x1_0 or timm:NAME."),
]
InitialWeights = Annotated[
    str,
    typer.Option(
        metavar="imagenet|none|FILE", help="What training starts from; FILE: a state dict."
    ),
]
Height = Annotated[int, typer.Option(help="Image height.")]
Width = Annotated[int, typer.Option(help="Image width.")]

# Of the commands that refine.
Protocol = Annotated[
    str,
    typer.Option(
        metavar="isolated|joint|paper",
        help="Who reads whom. isolated: queries the gallery, the gallery itself; joint: all read "
        "all; paper: all but one query another (NFormer without a closed form).",
    ),
]
Assume = Annotated[
    str,
    typer.Option(
        metavar="auto|same|foreign",
        help="Whether the gallery looks like the training set; auto: this is measured; foreign: it "
        "does not, and its embeddings stay as they are.",
    ),
]
Landmarks = Annotated[
    str, typer.Option(metavar="random|kmeans|farthest", help="How landmarks are chosen.")
]

# What readers of data sets are told beside the root: options of every command that reads pictures.
READER_OPTIONS: dict[str, Any] = {
    "distractors": Annotated[
        str | None,
        typer.Option(
            "--distractors", metavar="500k", help="market1501: add the 500,000 distractors."
        ),
    ],
    "combine_all": Annotated[
        bool, typer.Option("--combine-all", help="msmt17: train on its validation list as well.")
    ],
    "camera_pattern": Annotated[
        str | None,
        typer.Option(
            "--camera-pattern",
            metavar="REGEX",
            help="folder: a regular expression whose first group is the camera: c(\\d+).",
        ),
    ],
    "pattern": Annotated[
        str | None,
        typer.Option(
            "--pattern",
            metavar="PATTERN",
            help="folder, csv: where names hold labels: '{pid}_c{camid}_*.jpg'.",
        ),
    ],
    "columns": Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="FIELD=NAME,…",
            help="csv: which column is path, pid, camid, split.",
        ),
    ],
    "images": Annotated[
        str | None, typer.Option("--images", metavar="DIR", help="csv: the folder of its paths.")
    ],
    "split": Annotated[
        float | None,
        typer.Option(
            "--split",
            metavar="SHARE",
            help="folder, csv: share of the identities to train on (0.5).",
        ),
    ],
    "queries": Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="camera|identity|N",
            help="folder, csv: which test images are queries: of each person one image a camera, "
            "one, or N.",
        ),
    ],
    "variant": Annotated[
        str | None,
        typer.Option(
            "--variant",
            metavar="NAME",
            help="Which of a data set's test sets: see nformer datasets.",
        ),
    ],
    "no_masks": Annotated[
        bool,
        typer.Option("--no-masks", help="wildlife: leave what lies outside of an animal's mask."),
    ],
    "frames": Annotated[
        str | None,
        typer.Option(
            "--frames", metavar="all|N|random-N", help="Frames of a tracklet to read: mars, csv…"
        ),
    ],
}


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the data sets' readers, for which its `**reader` stands."""
    own = [
        one.replace(kind=one.KEYWORD_ONLY)
        for one in inspect.signature(command).parameters.values()
        if one.kind is not one.VAR_KEYWORD
    ]
    theirs = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if get_args(kind)[0] is bool else None,
            annotation=kind,
        )
        for name, kind in READER_OPTIONS.items()
    ]
    command.__signature__ = inspect.Signature([*own, *theirs])  # type: ignore[attr-defined]
    return command


def given(ctx: typer.Context, *names: str) -> dict[str, Any]:
    """Return the options among `names` that the user gave, so that a recipe keeps the others."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    chosen = [name for name, source in sources.items() if source and source.name != "DEFAULT"]
    return {name: ctx.params[name] for name in chosen}


def config_of(ctx: typer.Context, section: str, *, beside: str = "", **options: Any) -> Any:
    """Return a stage's config: the recipe, then `--set`, then the options that the user gave.

    beside: another section that the command reads: a `--set` of a key that only that one has is
            not for this one.
    options: those that are no settings as they were typed.
    """
    settings = [field.name for field in dataclasses.fields(SECTIONS[section])]
    others = [field.name for field in dataclasses.fields(SECTIONS[beside])] if beside else []
    theirs = set(others) - set(settings)
    typed = given(ctx, *(name for name in settings if name in ctx.params and name not in options))
    return configure(
        section,
        recipe=ctx.params.get("recipe"),
        settings=[
            setting
            for setting in ctx.params.get("settings") or ()
            if setting.partition("=")[0].strip() not in theirs
        ],
        options={**typed, **options},
    )


def reader_options(ctx: typer.Context) -> dict[str, Any]:
    """Return the options given, as the catalogue's readers take them."""
    return given(ctx, *READER_OPTIONS)
