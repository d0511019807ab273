"""Which rows an evaluation shows: chains of refiners, each with and without re-rankings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..artifacts.results import ResultRow
from ..config import EvaluateConfig
from ..embeddings import Embeddings
from ..errors import BadInput
from ..ranking.rerankers.registry import RERANKERS
from ..ranking.rules import AUTO as USUAL_RULES
from ..ranking.rules import MARKET1501, Rules, rules_named
from ..refiners.chain import REFINERS
from .assumptions import assumptions

if TYPE_CHECKING:
    from .recommend import Recommendation

NFORMER, AUTO = "nformer", "auto"
LOSS = 0.005  # of rank-1, worth a word beside a gain of mAP
FREE_CHAIN = ("camera", "whiten", "nfc")  # what helps most without training, put together


@dataclass(frozen=True)
class Method:
    """One row: refiners left to right, then a re-ranking or the cosine."""

    refine: tuple[str, ...] = ()
    rerank: str = ""

    @property
    def name(self) -> str:
        """`baseline`, `nformer`, `nformer,nfc`, `baseline+kr`…"""
        return (",".join(self.refine) or "baseline") + (f"+{self.rerank}" if self.rerank else "")

    def protocol(self, asked: str) -> str:
        """Return the protocol of the row: a re-ranking that mixes queries makes it joint.

        The paper's is NFormer's; other refiners are isolated beside it.
        """
        if asked == "paper" and self.refine and NFORMER not in self.refine:
            asked = "isolated"
        if not self.rerank:
            return asked
        own = RERANKERS[self.rerank].protocol
        return asked if own == "isolated" and self.refine else own


@dataclass(frozen=True)
class Plan:
    """What an evaluation computes: the rows in the table's order, and what to say beside them.

    rules: whom a query is compared with.
    recommended: the refiners that held-out identities recommend, where that was asked.
    """

    config: EvaluateConfig
    methods: tuple[Method, ...]
    notes: tuple[str, ...]
    rules: Rules = MARKET1501
    recommended: tuple[str, ...] | None = None

    def chains(self) -> dict[tuple[str, ...], list[Method]]:
        """Return the methods by their refiners: what is refined alike is refined once."""
        found: dict[tuple[str, ...], list[Method]] = {}
        for method in self.methods:
            found.setdefault(method.refine, []).append(method)
        return found


def planned(
    config: EvaluateConfig,
    query: Embeddings,
    *,
    gallery: Embeddings,
    train: Embeddings | None,
    has_nformer: bool,
    rules: Rules = MARKET1501,
) -> Plan:
    """Return the rows that the settings ask for and these embeddings allow."""
    methods = asked_for(config, has_nformer=has_nformer)
    notes = [] if has_nformer or not config.every else ["nformer left out: there is no nformer.pt"]
    if config.every:
        methods, left_out = possible(methods, query, gallery=gallery, train=train)
        notes += left_out
    notes += assumptions(query, gallery, rules=rules)
    return Plan(config, tuple(methods), tuple(notes), rules)


def advised(plan: Plan, advice: "Recommendation") -> Plan:
    """Return the plan with what was recommended on held-out identities noted."""
    return replace(plan, notes=(advice.describe(), *plan.notes), recommended=advice.refine)


def without(plan: Plan, methods: Sequence[Method], *, why: str) -> Plan:
    """Return the plan less some rows, with the reason noted."""
    names = ", ".join(method.name for method in methods)
    kept = tuple(method for method in plan.methods if method not in methods)
    return replace(plan, methods=kept, notes=(*plan.notes, f"{names} left out: {why}"))


def chain(config: EvaluateConfig) -> tuple[str, ...]:
    """Return the refiners asked for, none for `none`."""
    return tuple(name for name in config.refine if name != "none")


def require_known(config: EvaluateConfig) -> None:
    """Raise BadInput for a refiner or re-ranking that does not exist, with those that do."""
    for name in chain(config):
        if name == AUTO and (len(chain(config)) > 1 or config.every):
            raise BadInput("--refine auto stands alone: it names the refiner to use by itself")
        if name not in (NFORMER, AUTO) and name not in REFINERS:
            known = ", ".join((NFORMER, *REFINERS, AUTO, "none"))
            raise BadInput(f"--refine {name}: unknown; known are {known}")
    for name in config.rerank:
        if name not in RERANKERS:
            raise BadInput(f"--rerank {name}: unknown; known are {', '.join(RERANKERS)}")
    if config.rules != USUAL_RULES:
        rules_named(config.rules)
    if config.neighbours < 0 or config.landmark_draws < 1:
        raise BadInput("neighbours must be 0 or more, and landmark draws at least 1")


def asked_for(config: EvaluateConfig, *, has_nformer: bool) -> list[Method]:
    """Return the rows that the settings ask for, the baseline first.

    With `every`, all refiners and all re-rankings, NFormer where there is one, and the chain and
    the re-rankings asked for besides.
    """
    chains: list[tuple[str, ...]] = [()]
    reranked = tuple(dict.fromkeys(config.rerank))  # a name given twice is one row
    if config.every:
        chains += [(name,) for name in REFINERS] + [FREE_CHAIN]
        chains += [(NFORMER,)] if has_nformer else []
        reranked = (*RERANKERS,)
    wanted = chain(config)
    if wanted and wanted not in chains and (has_nformer or NFORMER not in wanted):
        chains.append(wanted)
    full = chains if not config.every else [(), *(c for c in chains if NFORMER in c)]
    rows = [Method(names) for names in chains] if config.every else []
    for names in full:
        rows += [] if config.every else [Method(names)]
        rows += [Method(names, name) for name in reranked]
    return rows


def possible(
    methods: list[Method], query: Embeddings, *, gallery: Embeddings, train: Embeddings | None
) -> tuple[list[Method], list[str]]:
    """Return the methods whose needs these embeddings meet, and why others are left out."""
    blind = bool((query.camids < 0).any() or (gallery.camids < 0).any())
    kept, notes = [], []
    for method in methods:
        needs = [REFINERS[name] for name in method.refine if name in REFINERS]
        cameras = any(refiner.needs_cameras for refiner in needs)
        cameras |= bool(method.rerank) and RERANKERS[method.rerank].needs_cameras
        if cameras and blind:
            notes.append(f"{method.name} left out: it needs the camera of every item")
        elif train is None and any(refiner.needs_train for refiner in needs):
            notes.append(
                f"{method.name} left out: it is fitted on training identities; there are none"
            )
        else:
            kept.append(method)
    return kept, notes


def verdict(rows: Sequence[ResultRow]) -> list[str]:
    """Say which isolated row ranks best on these labels, and what NFormer adds to the baseline."""
    isolated = [row for row in rows if row.protocol != "joint"]
    base = next((row for row in isolated if row.name == "baseline"), None)
    if base is None or len(isolated) < 2:
        return []
    best = max(isolated, key=lambda row: row.mAP)
    kind = (
        "row without re-ranking" if any(row.protocol == "paper" for row in rows) else "isolated row"
    )
    said = f"Best {kind} by these labels: {best.label}, mAP {100 * best.mAP:.1f}"
    if best is not base:
        said += f", {100 * (best.mAP - base.mAP):+.1f} over the baseline"
        if base.rank1 - best.rank1 > LOSS:
            said += f" (rank-1 {100 * (best.rank1 - base.rank1):+.1f})"
    own = next((row for row in isolated if row.name == NFORMER), None)
    if own is not None and own is not best:
        said += f"; {own.label}: {100 * (own.mAP - base.mAP):+.1f}"
    return [said + "."]
