"""The NFormers that the paper's tables and figures compare, and which of them each needs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..config import NFormerConfig
from ..errors import BadInput

if TYPE_CHECKING:
    from ..nformer.attention import Affinity
    from ..nformer.model import Mask

CHECKPOINTS = 50  # steps between the checkpoints of a training


@dataclass(frozen=True)
class ReproduceConfig:
    """`nformer reproduce`. Every variant is trained alike, with nothing chosen by its result.

    seeds: trainings of each variant.   draws: of the landmarks, for each training.
    steps, batch: of each training.   Subsets and samples are drawn with `seed`.
    """

    seeds: int = 3
    draws: int = 3
    steps: int = 60
    batch: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("seeds", "draws", "steps", "batch"):
            if getattr(self, name) < 1:
                raise BadInput(f"--{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True, order=True)
class Variant:
    """One cell of the paper's ablations: a mask, an affinity, k and l."""

    mask: "Mask" = "reciprocal"
    affinity: "Affinity" = "landmarks"
    neighbours: int = 20
    landmarks: int = 5

    @property
    def name(self) -> str:
        """Short and unique, for file names."""
        parts: list[str] = [self.mask, self.affinity]
        parts += [f"k{self.neighbours}"] if self.mask != "none" else []
        parts += [f"l{self.landmarks}"] if self.affinity == "landmarks" else []
        return "-".join(parts)

    @property
    def draws_matter(self) -> bool:
        """Whether landmarks take part in the result."""
        return self.affinity == "landmarks" and self.neighbours > 1

    def config(self, settings: ReproduceConfig, seed: int) -> NFormerConfig:
        """Return what one training of it is, as `train-nformer --no-closed-form` would have it."""
        return NFormerConfig(
            **asdict(self),
            closed_form=False,
            steps=settings.steps,
            batch=settings.batch,
            warmup_steps=min(20, settings.steps // 4),
            held_out=0.0,  # all identities, the last step, as in the paper
            eval_every=CHECKPOINTS,
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
}
SEVERAL_RUNS = ("table2", "table4")  # a row, or more, for each run given


def chosen(names: Sequence[str]) -> list[str]:
    """Return the tables and figures named, in the paper's order; BadInput for an unknown one."""
    wanted = list(NEEDED) if "all" in names else list(names)
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
