"""Query and gallery -> refined by a chain of refiners, once for every draw of the landmarks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..config import EvaluateConfig
from ..refiners.chain import Pair, RefineProtocol, refine_chain
from .plan import NFORMER
from .sets import Sets, Stopwatch

if TYPE_CHECKING:
    from ..gallery.refinement import GalleryState
    from ..nformer.model import NFormer


@dataclass(frozen=True, eq=False)
class Refined:
    """What a chain of refiners made of a query and a gallery.

    pairs:         one for each draw of NFormer's landmarks; a single one without NFormer.
    seconds:       of all of them.
    camera_aware:  whether NFormer used camera ids.
    kind:          what the model is: a closed form, with its parts, or an NFormer.
    domain:        whether the gallery looks like training, as `Domain.as_table`; None: not asked.
    landmark_rows: of each draw, [layers, l].
    states:        the refined galleries that were to be kept, of NFormer isolated, one a draw.
    """

    pairs: Sequence[Pair]
    seconds: float
    camera_aware: bool = False
    kind: str = ""
    domain: dict[str, Any] | None = None
    landmark_rows: Sequence[list[list[int]]] = ()
    states: "Sequence[GalleryState]" = ()


def training_free_protocol(asked: str) -> RefineProtocol:
    """Return the protocol of refiners that train nothing: the paper's is NFormer's alone."""
    return "joint" if asked == "joint" else "isolated"


def refine_plainly(names: Sequence[str], sets: Sets, *, config: EvaluateConfig) -> Refined:
    """Refine by a chain without NFormer; no refiners: the embeddings as they are."""
    watch = Stopwatch(sets.near)
    protocol = training_free_protocol(config.protocol)
    pair = refine_chain(names, sets.near, protocol=protocol, train=sets.train)
    return Refined([pair], watch.seconds())


def refine_with_nformer(
    names: Sequence[str],
    sets: Sets,
    *,
    config: EvaluateConfig,
    model: "NFormer",
    draws: int,
    keep_states: bool = False,
    elsewhere: Callable[..., Iterator[Pair]] | None = None,
) -> Refined:
    """Refine by a chain with NFormer, with `draws` draws of its landmarks or the mean over them.

    elsewhere: does what `refine_draws` does, without the graphs at hand, and keeps no states.
    """
    from ..gallery.refinement import average_draws, refine_draws
    from ..nformer.landmarks import landmark_draws
    from ..nformer.on_closed_form import NFormerOnClosedForm
    from ..refiners.domain_shift import Domain
    from .camera_use import relabelled, shown_to, uses_cameras

    watch = Stopwatch(sets.near)
    near = sets.near.alone() if sets.near.one_set else sets.near
    protocol = "isolated" if sets.near.one_set else config.protocol
    aware = uses_cameras(model, (sets.query, sets.gallery), wanted=config.camera_aware)
    pairs, rows = [], []
    states: list[GalleryState] = []
    domains: list[Domain] = []
    if isinstance(model, NFormerOnClosedForm):
        model.closed_form.assume = config.assume

    def refined(pair: Pair, seeds: Sequence[int]) -> list[Pair]:
        query, gallery = shown_to(pair, aware=aware)
        here = partial(
            refine_draws,
            near=near if pair[1] is near.gallery_items else None,
            keep=states.append if keep_states else None,
        )
        found = (elsewhere or here)(
            model,
            query,
            gallery=gallery,
            seeds=seeds,
            protocol=protocol,
            landmarks=config.landmarks,
            record=lambda chosen: rows.append(chosen.tolist()),
            tell=domains.append,
        )
        return [relabelled(pair, one) for one in found]

    def first(pair: Pair, *, seed: int) -> Pair:
        return refined(pair, [seed])[0]

    seeds = landmark_draws(config.seed, draws)
    if tuple(names) == (NFORMER,):
        pairs = refined((near.query_items, near.gallery_items), seeds)
    else:
        for seed in seeds:
            pairs.append(
                refine_chain(
                    names,
                    near,
                    protocol=training_free_protocol(protocol),
                    train=sets.train,
                    special={NFORMER: partial(first, seed=seed)},
                )
            )
    if config.average_draws:
        pairs = [average_draws(pairs)]
    if sets.near.one_set:
        pairs = [(gallery, gallery) for _, gallery in pairs]
    domain = domains[0].as_table() if domains else None
    return Refined(pairs, watch.seconds(), aware, model.kind, domain, rows, states)
