"""One run's experiment: its embeddings, the variants trained on them, and their figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from ..artifacts.embeddings import load_embeddings, open_embeddings, splits_in
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer, save_nformer
from ..artifacts.run import Run
from ..config import as_table
from ..data.subsampling import drawing_order
from ..device import choose_device
from ..embeddings import Embeddings
from ..errors import BadInput
from ..evaluation.camera_use import relabelled, shown_to, uses_cameras
from ..evaluation.plan import FREE_CHAIN, Method, possible
from ..files import text_digest
from ..gallery.refinement import refine_draws
from ..neighbours.graph import Neighbourhoods
from ..nformer.landmarks import landmark_draws
from ..nformer.model import NFormer
from ..progress import Progress, Silent
from ..ranking.metrics import score
from ..ranking.rerankers.k_reciprocal import rank_k_reciprocal
from ..refiners.chain import REFINERS, Pair, refine_chain
from ..reporting.tables_and_figures import FOLDER
from ..training.nformer import Trainer
from .measured import Figures, MeasuredFigures
from .variants import ReproduceConfig, Variant

MEASURED = ("mAP", "rank1")
WHOLE = (0, 0)
Subset = tuple[int, int]  # images of an identity at most, and the seed that draws them; 0: all


@dataclass(frozen=True)
class Summary:
    """The mean of each figure, and standard deviations of its mAP: over trainings, over draws."""

    mean: Figures
    over_seeds: float | None = None
    over_draws: float | None = None


class Experiment:
    """Trains what is not trained, measures what is not measured, and keeps both in the run."""

    def __init__(
        self,
        run: Run,
        settings: ReproduceConfig,
        *,
        device: str = "auto",
        progress: Progress = Silent(),
    ) -> None:
        self.run, self.settings, self.progress = run, settings, progress
        self.device = choose_device(device)
        path = run.artifact("embeddings.h5")
        self.digest = run.digest("embeddings.h5")
        with open_embeddings(path) as file:
            splits = splits_in(file)
        for split in ("query", "gallery"):
            if split not in splits:
                raise BadInput(f"{path} has no {split}; both query and gallery are measured")
        self.query, self.gallery = (
            load_embeddings(path, split).without_junk() for split in ("query", "gallery")
        )
        train = load_embeddings(path, "train").without_junk() if "train" in splits else None
        self.train = train if train is not None and len(np.unique(train.pids)) > 1 else None
        self.dataset = str(run.facts("embeddings.h5").get("dataset", ""))
        self.figures = MeasuredFigures(run.path(f"{FOLDER}/cells.json"), digest=self.digest)

    @property
    def seeds(self) -> range:
        """The seeds of the trainings."""
        return range(self.settings.seeds)

    def wanted(self, variant: Variant, seed: int) -> Manifest:
        """Return the manifest of a variant's training."""
        return Manifest(
            f"{FOLDER}/variants/{variant.name}-seed{seed}.pt",
            "reproduce",
            as_table(variant.config(self.settings, seed)),
            {"embeddings.h5": self.digest},
        )

    def key_of(self, variant: Variant, seed: int) -> str:
        """Return what tells a training from every other, for figures measured of it."""
        return f"{variant.name} {seed} {text_digest(self.wanted(variant, seed).to_json())[:16]}"

    def is_trained(self, variant: Variant, seed: int) -> bool:
        """Return whether exactly this training lies in the run."""
        return lies_whole(self.run, self.wanted(variant, seed))

    def trainer(self, variant: Variant, seed: int) -> Trainer:
        """Return a training to run.

        Raises:
            BadInput: there are no training identities.
        """
        if self.train is None:
            raise BadInput(
                f"{self.run.path('embeddings.h5')} has no train split with two identities, and "
                "every table and figure of the paper needs an NFormer trained here; give the "
                "training embeddings to nformer import-embeddings. Without them: nformer evaluate "
                "--all shows what trains nothing"
            )
        config = variant.config(self.settings, seed)
        return Trainer(self.train, None, config=config, device=self.device)

    def model(self, variant: Variant, seed: int) -> NFormer:
        """Return a variant, trained now where it was not before."""
        wanted = self.wanted(variant, seed)
        if not lies_whole(self.run, wanted):
            scratch = f"reproduce-{variant.name}-seed{seed}"
            folder = self.run.scratch(scratch)
            trained = self.trainer(variant, seed).run(
                folder, folder / "log.jsonl", key=text_digest(wanted.to_json()), progress=Silent()
            )
            with self.run.writing(wanted) as (path, facts):
                facts.update(dataset=self.dataset, steps=self.settings.steps)
                save_nformer(path, trained.model, **facts)
            self.run.clear_scratch(scratch)
        return load_nformer(self.run.path(wanted.artifact), device=self.device)

    def subset(self, subset: Subset) -> Embeddings:
        """Return the gallery with at most so many images of each identity."""
        number, seed = subset
        if not number:
            return self.gallery
        pids = self.gallery.pids
        kept = (drawing_order(pids, seed) < number) | ~self.of_people(pids)
        return self.gallery.select(kept)

    def of_people(self, pids: np.ndarray) -> np.ndarray:
        """Return which rows show somebody: pid 0 is a distractor unless a query has it."""
        return (pids > 0) | bool((self.query.pids == 0).any())

    def measured(self, variant: Variant, *, number: int = 0, rerank: str = "") -> Summary:
        """Return a variant's figures over its trainings and draws of the landmarks.

        number: gallery images of an identity at most, drawn for each training anew; 0: all.
        """
        subsets = self._subsets(number)
        each = [
            self._of_training(variant, seed, subset=subset, rerank=rerank)
            for seed, subset in zip(self.seeds, subsets * len(self.seeds), strict=False)
        ]
        by_seed = [_mean(draws) for draws in each]
        mean_ap = np.array([[draw["mAP"] for draw in draws] for draws in each])
        return Summary(
            _mean(by_seed),
            float(mean_ap.mean(axis=1).std()) if len(each) > 1 else None,
            float(mean_ap.std(axis=1).mean()) if mean_ap.shape[1] > 1 else None,
        )

    def _subsets(self, number: int) -> list[Subset]:
        """Return one subset for each seed; where nothing is left out, the whole."""
        if not number or number >= self.most_images:
            return [WHOLE]
        return [(number, seed) for seed in self.seeds]

    @cached_property
    def most_images(self) -> int:
        """The largest number of gallery images of an identity, distractors apart."""
        people = self.gallery.pids[self.of_people(self.gallery.pids)]
        return int(np.unique(people, return_counts=True)[1].max(initial=0))

    def _of_training(
        self, variant: Variant, seed: int, *, subset: Subset, rerank: str
    ) -> list[Figures]:
        key = (self.key_of(variant, seed),)
        draws = landmark_draws(0, self.settings.draws if variant.draws_matter else 1)
        rest = (*subset, rerank)
        known = [self.figures.get(*key, draw, *rest) for draw in draws]
        missing = [draw for draw, figures in zip(draws, known, strict=True) if figures is None]
        if missing:
            model, gallery = self.model(variant, seed), self.subset(subset)
            refined = refine_draws(model, self.query, gallery=gallery, seeds=missing)
            for draw, pair in zip(missing, refined, strict=True):
                figures = scored(pair, rerank, device=str(self.device))
                self.figures.put(figures, *key, draw, *rest)
        return [self.figures.get(*key, draw, *rest) or {} for draw in draws]

    def baseline(self, *, number: int = 0, rerank: str = "") -> Figures:
        """Return the figures of the embeddings as they are, a mean over the subsets."""
        return _mean(
            [
                self.cached(partial(self._plain, subset, rerank), "baseline", *subset, rerank)
                for subset in self._subsets(number)
            ]
        )

    def _plain(self, subset: Subset, rerank: str) -> Figures:
        return scored((self.query, self.subset(subset)), rerank, device=str(self.device))

    def training_free(self, *, number: int = 0) -> tuple[str, Figures]:
        """Return the refiner without training that has the best mAP here, and its figures.

        It is chosen on the test set itself: nothing that trains has that advantage.
        """
        chains: list[tuple[str, ...]] = [(name,) for name in REFINERS] + [FREE_CHAIN]
        methods = [Method(chain) for chain in chains]
        found = {}
        for method in possible(methods, self.query, gallery=self.gallery, train=self.train)[0]:
            each = [
                self.cached(partial(self._free, method.refine, subset), method.name, *subset)
                for subset in self._subsets(number)
            ]
            found[method.name] = _mean(each)
        best = max(found, key=lambda name: found[name]["mAP"])
        return best, found[best]

    def _free(self, names: Sequence[str], subset: Subset) -> Figures:
        near = Neighbourhoods(self.query, self.subset(subset), device=str(self.device))
        return scored(refine_chain(names, near, train=self.train))

    @cached_property
    def own_model(self) -> NFormer | None:
        """The run's nformer.pt where it is there and of these embeddings."""
        manifest = self.run.manifest("nformer.pt")
        if manifest is None or self.run.changed_inputs("nformer.pt"):
            return None
        return load_nformer(self.run.artifact("nformer.pt"), device=self.device)

    def own(self, *, number: int = 0, rerank: str = "") -> Figures | None:
        """Return the figures of the run's nformer.pt, as `nformer evaluate` has them."""
        model = self.own_model
        if model is None:
            return None
        digest = self.run.digest("nformer.pt")[:16]
        return _mean(
            [
                self.cached(
                    partial(self._own, model, subset, rerank=rerank), "own", digest, *subset, rerank
                )
                for subset in self._subsets(number)
            ]
        )

    def _own(self, model: NFormer, subset: Subset, *, rerank: str) -> Figures:
        pair = (self.query, self.subset(subset))
        shown = shown_to(pair, aware=uses_cameras(model, pair, wanted="auto"))
        refined = relabelled(pair, next(refine_draws(model, shown[0], gallery=shown[1], seeds=[0])))
        return scored(refined, rerank, device=str(self.device))

    def cached(self, measure: Callable[[], Figures], *key: object) -> Figures:
        """Return the figures of a key, measured now where they were not before."""
        return self.figures.get(*key) or self.figures.put(measure(), *key)


def lies_whole(run: Run, wanted: Manifest) -> bool:
    """Return whether exactly this artifact lies in a run; a damaged one is made again."""
    try:
        return run.holds(wanted)
    except BadInput:
        return False


def scored(pair: Pair, rerank: str = "", *, device: str = "auto") -> Figures:
    """Return the figures of a query and a gallery, re-ranked or not."""
    distances = rank_k_reciprocal(Neighbourhoods(*pair, device=device)) if rerank else None
    found = score(*pair, distances=distances)
    return {"mAP": float(found.mean_ap), "rank1": float(found.rank(1))}


def _mean(figures: Sequence[Figures]) -> Figures:
    return {name: float(np.mean([one[name] for one in figures])) for name in MEASURED}
