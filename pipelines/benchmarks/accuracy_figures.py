"""What the accuracy benchmark measures on one set, kept in a folder until the code changes."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..artifacts.embeddings import save_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run
from ..config import EvaluateConfig, NFormerConfig
from ..embeddings import Embeddings
from ..evaluation.gallery_images import estimated_images
from ..evaluation.plan import NFORMER, Method, asked_for, possible
from ..evaluation.recommend import recommend
from ..files import text_digest, write_text
from ..gallery.refinement import refine_draws
from ..neighbours.graph import Neighbourhoods
from ..nformer.model import NFormer
from ..ranking.metrics import Metrics, score
from ..ranking.rerankers.registry import ranked_by
from ..refiners.chain import refine_chain
from ..refiners.domain_shift import Domain
from ..stages.train_nformer import train_nformer
from .accuracy_sets import Case

SOURCES = Path(__file__).parents[1]
# What figures depend on; the rest of the code may change without their being made again.
ROOMS = ("refiners", "training", "nformer", "gallery", "neighbours", "ranking", "evaluation")
FILES = ("config.py", "embeddings.py", "seeding.py", "benchmarks/people.py")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One model on one test set; mAP and rank-1 in %.

    closed, best:  the highest mAP of the isolated rows that train nothing, and whose it is.
    advised:       of the row that `--refine auto` recommends, which `advice` names.
    rank1_error:   standard error of the difference of rank-1, paired over queries.
    shift, warned: of the domain, and whether it was said that the gallery is foreign.
    images:        of a person in the gallery; `estimated` without labels, None where untold.
    """

    name: str
    foreign: bool
    baseline: float
    closed: float
    best: str
    default: float
    advised: float
    advice: str
    rank1_before: float
    rank1: float
    rank1_error: float
    shift: float
    warned: bool
    images: float
    estimated: float | None
    seconds: float = 0.0
    kind: str = ""

    @property
    def ahead(self) -> float:
        """Default less the best closed form."""
        return self.default - self.closed

    @property
    def gain(self) -> float:
        """Default less the baseline."""
        return self.default - self.baseline

    @property
    def lost_rank1(self) -> bool:
        """Whether rank-1 falls by more than its error."""
        return self.rank1 < self.rank1_before - max(self.rank1_error, 1e-9)


class Kept:
    """A folder with a run for each set and a file for each result, both of the code as it is.

    What other versions of the code made lies beside it, and is not read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / code_digest()

    def run(self, case: Case) -> Run:
        """Return the run of a case, its embeddings and a trained model in it."""
        run = Run(self.folder / case.folder)
        wanted = Manifest("embeddings.h5", "import-embeddings", {"set": case.folder}, {})
        if not run.holds(wanted):
            with run.writing(wanted) as (path, _):
                save_embeddings(path, train=case.train, query=case.query, gallery=case.gallery)
        train_nformer(run, config=NFormerConfig(seed=case.seed), seen=case.seen)
        return run

    def result(self, names: Sequence[str], make: Callable[[], Figures]) -> Figures:
        """Return the result under these names, made where it is not kept."""
        path = self.folder / "results" / f"{'--'.join(names)}.json"
        if path.exists():
            return Figures(**json.loads(path.read_text(encoding="utf-8")))
        found = make()
        write_text(path, json.dumps(asdict(found), indent=1))
        return found


def code_digest() -> str:
    """Return a short digest of the code that figures depend on."""
    files = [path for room in ROOMS for path in sorted((SOURCES / room).rglob("*.py"))]
    files += [SOURCES / name for name in FILES]
    return text_digest(*(path.read_text(encoding="utf-8") for path in files))[:12]


def in_domain(case: Case, kept: Kept) -> Figures:
    """Train with the defaults on a case and test on its own test set."""

    def make() -> Figures:
        begun = time.perf_counter()
        run = kept.run(case)
        seconds = time.perf_counter() - begun
        model, advice = load_nformer(run.artifact("nformer.pt")), recommend(run, seed=case.seed)
        rows = closed_rows(case)
        best = max(rows, key=lambda name: rows[name].mean_ap)
        return _figures(
            case.name,
            case,
            foreign=case.foreign,
            model=model,
            train=case.train,
            advice=advice.refine,
            seconds=seconds,
            before=rows["baseline"],
            closed=rows[best].mean_ap,
            best=best,
        )

    return kept.result([case.folder], make)


def out_of_domain(source: Case, target: Case, *, kept: Kept) -> Figures:
    """Test the model of one case on the test set of another."""

    def make() -> Figures:
        own = in_domain(source, kept)
        before = score(target.query, target.gallery)
        return _figures(
            f"{source.name} → {target.name}",
            target,
            foreign=True,
            model=load_nformer(kept.run(source).artifact("nformer.pt")),
            train=source.train,
            advice=tuple(own.advice.split(",")) if own.advice else (),
            seconds=0.0,
            before=before,
            closed=before.mean_ap,
            best="baseline",
        )

    return kept.result([source.folder, target.folder], make)


def closed_rows(case: Case) -> dict[str, Metrics]:
    """Return the isolated rows of `evaluate --all` that train nothing, by name."""
    methods = asked_for(EvaluateConfig(every=True), has_nformer=False)
    isolated = [method for method in methods if method.protocol("isolated") == "isolated"]
    found = {}
    for method in possible(isolated, case.query, gallery=case.gallery, train=case.train)[0]:
        near = Neighbourhoods(case.query, case.gallery)
        near = near.like(*refine_chain(method.refine, near, train=case.train))
        found[method.name] = _scored(near, method)
    return found


def _scored(near: Neighbourhoods, method: Method) -> Metrics:
    config, distances = EvaluateConfig(), None
    if method.rerank:
        distances = ranked_by(method.rerank, near, k1=config.k1, k2=config.k2, weight=config.weight)
    return score(near.query_items, near.gallery_items, distances=distances)


def _figures(
    name: str,
    test: Case,
    *,
    foreign: bool,
    model: NFormer,
    train: Embeddings,
    advice: tuple[str, ...],
    seconds: float,
    before: Metrics,
    closed: float,
    best: str,
) -> Figures:
    domains: list[Domain] = []
    drawn = refine_draws(
        model, test.query, gallery=test.gallery, seeds=[test.seed], tell=domains.append
    )
    after = score(*next(drawn))
    domain = domains[0] if domains else Domain(1.0)
    advised = after.mean_ap if advice == (NFORMER,) else before.mean_ap
    if advice not in ((), (NFORMER,)) and not domain.foreign:
        near = Neighbourhoods(test.query, test.gallery)
        advised = score(*refine_chain(advice, near, train=train)).mean_ap
    return Figures(
        name=name,
        foreign=foreign,
        baseline=100 * before.mean_ap,
        closed=100 * closed,
        best=best,
        default=100 * after.mean_ap,
        advised=100 * advised,
        advice=",".join(advice),
        rank1_before=100 * before.rank(1),
        rank1=100 * after.rank(1),
        rank1_error=100 * rank1_error(before, after),
        shift=domain.shift,
        warned=domain.foreign,
        images=images_of_each(test.gallery),
        estimated=None if foreign else estimated_of(test),
        seconds=seconds,
        kind=str(getattr(model, "kind", "")),
    )


def images_of_each(gallery: Embeddings) -> float:
    """Return how many images of a person a gallery has, on average."""
    return len(gallery) / len(np.unique(gallery.pids))


def estimated_of(case: Case) -> float | None:
    """Return how many it is estimated to have, without labels; None where it cannot be told."""
    return estimated_images(case.train, case.gallery, seed=case.seed, seen=case.seen)[0]


def rank1_error(before: Metrics, after: Metrics) -> float:
    """Return the standard error of the difference of two rank-1, paired over queries."""
    valid = before.first_match > 0
    difference = (after.first_match[valid] == 1).astype(float) - (before.first_match[valid] == 1)
    return float(difference.std() / max(1, valid.sum()) ** 0.5)
