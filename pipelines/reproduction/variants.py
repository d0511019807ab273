"""The NFormers that the paper's tables and figures compare, and which of them each needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..config import NFormerConfig
from ..errors import BadInput
from ..settings import build, configure

if TYPE_CHECKING:
    from ..nformer.attention import Affinity
    from ..nformer.model import Mask

CHECKPOINTS = 50  # steps between the checkpoints of a training


@dataclass(frozen=True)
class ReproduceConfig:
    """`nformer reproduce`. Every variant is trained alike, with nothing chosen by its result.

    seeds:  trainings of each variant.   draws: of the landmarks, for each training.
    steps:  of each training; 0: as the recipe has it.
    recipe: by whose settings variants are trained; "": by those of the run's own NFormer.
    Subsets and samples are drawn with `seed`.
    """

    seeds: int = 3
    draws: int = 3
    steps: int = 0
    recipe: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("draws", 1), ("steps", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"--{name} must be at least {least}, not {getattr(self, name)}")

    def trained_by(self, own: Mapping[str, Any] | None) -> NFormerConfig:
        """Return the settings by which every variant is trained, as a plain NFormer.

        own: those of the run's nformer.pt, as its manifest has them; None: it has none.
        """
        if self.recipe:
            base: NFormerConfig = configure("nformer", recipe=self.recipe)
        else:
            base = build(NFormerConfig, own or {}, where="nformer.pt")
        return replace(
            base,
            closed_form=False,
            steps=self.steps or base.settled().steps,
            held_out=0.0,  # all identities, the last step, as in the paper
            eval_every=CHECKPOINTS,
        )


@dataclass(frozen=True, order=True)
class Variant:
    """One cell of the paper's ablations: a mask, an affinity, k and l; and how much it learns from.

    identities, images: of the training set, at random, and of each identity at most; 0: all.
    steps: of the training; 0: as the settings have it.
    """

    mask: "Mask" = "reciprocal"
    affinity: "Affinity" = "landmarks"
    neighbours: int = 20
    landmarks: int = 5
    identities: int = 0
    images: int = 0
    steps: int = 0

    @property
    def name(self) -> str:
        """Short and unique, for file names."""
        parts: list[str] = [self.mask, self.affinity]
        parts += [f"k{self.neighbours}"] if self.mask != "none" else []
        parts += [f"l{self.landmarks}"] if self.affinity == "landmarks" else []
        amounts = {"identities": self.identities, "images": self.images, "steps": self.steps}
        return "-".join([*parts, *(f"{count}{name}" for name, count in amounts.items() if count)])

    @property
    def portion(self) -> dict[str, int]:
        """How much of the training set it learns from, where that is not all of it."""
        amounts = {"train_identities": self.identities, "train_images": self.images}
        return {name: count for name, count in amounts.items() if count}

    @property
    def draws_matter(self) -> bool:
        """Whether landmarks take part in the result."""
        return self.affinity == "landmarks" and self.neighbours > 1

    def config(self, base: NFormerConfig, seed: int) -> NFormerConfig:
        """Return what one training of it is, by the settings that all variants share."""
        steps = self.steps or base.steps
        return replace(
            base,
            mask=self.mask,
            affinity=self.affinity,
            neighbours=self.neighbours,
            landmarks=self.landmarks,
            steps=steps,
            warmup_steps=min(base.warmup_steps, steps // 4),
            seed=seed,
        )


NFORMER = Variant()
ORDINARY = Variant(mask="none", affinity="exact")  # the paper's "+ Transformer"
ALONE = Variant(neighbours=1)  # the control: a row's own edge only
SOFTMAX = Variant(mask="none")
EXACT_RNS = Variant(affinity="exact")
KS = (5, 10, 20, 40)
LS = (1, 2, 5, 10, 20)
CONTROLS = (NFORMER, ALONE)

NEEDED: dict[str, Sequence[Variant]] = {
    "table1": (*CONTROLS, ORDINARY),
    "table2": CONTROLS,
    "table3": CONTROLS,
    "table4": CONTROLS,
    "figure4": (NFORMER, SOFTMAX),
    "figure5": (NFORMER,),
    "figure6": (*(Variant(landmarks=count) for count in LS), EXACT_RNS, ORDINARY),
    "figure7": (
        *(Variant(mask=mask, neighbours=k) for mask in ("reciprocal", "topk") for k in KS),
        *(ALONE, SOFTMAX),
    ),
    "equation5": (NFORMER, Variant(landmarks=20), EXACT_RNS),
    "learning_curve": CONTROLS,  # and NFormers that learn from less
}
NOT_IN_ALL = ("learning_curve",)  # not the paper's
SEVERAL_RUNS = ("table2", "table4")  # a row, or more, for each run given


def chosen(names: Sequence[str]) -> list[str]:
    """Return the tables and figures named, in the paper's order; BadInput for an unknown one."""
    papers = [name for name in NEEDED if name not in NOT_IN_ALL]
    wanted = [*names, *papers] if "all" in names else list(names)
    wanted = [name for name in wanted if name != "all"]
    for name in wanted:
        if name not in NEEDED:
            raise BadInput(f"{name}: no table or figure of the paper; known are "
                           f"{', '.join(NEEDED)}, all")  # fmt: skip
    if not wanted:
        raise BadInput(f"name what to make: {', '.join(NEEDED)}, or all")
    return [name for name in NEEDED if name in wanted]


def needed_by(names: Iterable[str]) -> list[Variant]:
    """Return each variant that the tables and figures need, once."""
    return list(dict.fromkeys(variant for name in names for variant in NEEDED[name]))
