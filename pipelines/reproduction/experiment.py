"""One run's experiment: its embeddings, the variants trained on them, and their figures."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..artifacts.embeddings import load_embeddings, open_embeddings, splits_in
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer, save_nformer
from ..artifacts.run import Run
from ..config import NFormerConfig, as_table
from ..data.catalogue import title_of
from ..data.subsampling import drawing_order, drawn_on_average
from ..device import choose_device
from ..embeddings import Embeddings
from ..errors import BadInput
from ..evaluation.camera_use import relabelled, shown_to, uses_cameras
from ..evaluation.plan import FREE_CHAIN, Method, possible
from ..files import text_digest
from ..flow import command_line
from ..gallery.refinement import refine_draws
from ..labels import distractors
from ..neighbours.graph import Neighbourhoods
from ..nformer.landmarks import landmark_draws
from ..nformer.model import NFormer
from ..progress import Progress, Silent
from ..ranking.metrics import score
from ..ranking.rerankers.k_reciprocal import rank_k_reciprocal
from ..refiners.chain import REFINERS, Pair, refine_chain
from ..reporting.tables_and_figures import FOLDER
from ..seeding import numpy_generator
from ..training.nformer import Trainer
from .measured import Figures, MeasuredFigures
from .variants import ReproduceConfig, Variant

MEASURED = ("mAP", "rank1")
TRAINING_STAGES = ("train-nformer", "train")  # whose nformer.pt has settings to train by
WHOLE = (0, 0)
Subset = tuple[int, int]  # images of an identity on average, and the seed that draws; 0: all


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
        self.title = title_of(run.facts("embeddings.h5")) or "embeddings"  # of the data set
        self.figures = MeasuredFigures(run.path(f"{FOLDER}/cells.json"), digest=self.digest)
        self.seeds = range(settings.seeds)  # of the trainings

    @cached_property
    def trained_by(self) -> NFormerConfig:
        """The settings that all variants share: a recipe's, or those of the run's own NFormer."""
        return self.settings.trained_by(self._own_settings)

    @cached_property
    def batch(self) -> int:
        """The embeddings of a step: as the settings have it, but no more than there are."""
        return min(self.trained_by.batch, len(self.train) if self.train is not None else 0)

    @property
    def shape(self) -> dict[str, int]:
        """What counting operations needs to know of the variants, by the names of its arguments."""
        settings = self.trained_by
        return {"dim": self.query.dim, "layers": settings.layers, "heads": settings.heads}

    @cached_property
    def recipe(self) -> str:
        """Whose settings these are, in words."""
        if self.settings.recipe:
            return f"recipe {self.settings.recipe}"
        return "as this run's nformer.pt" if self._own_settings else "train-nformer's defaults"

    @cached_property
    def _own_settings(self) -> dict[str, Any] | None:
        manifest = self.run.manifest("nformer.pt")
        trained = manifest is not None and manifest.stage in TRAINING_STAGES
        return dict(manifest.config) if manifest is not None and trained else None

    def wanted(self, variant: Variant, seed: int) -> Manifest:
        """Return the manifest of a variant's training."""
        return Manifest(
            f"{FOLDER}/variants/{variant.name}-seed{seed}.pt",
            "reproduce",
            as_table(variant.config(self.trained_by, seed)) | variant.portion,
            {"embeddings.h5": self.digest},
        )

    def key_of(self, variant: Variant, seed: int) -> str:
        """Return what tells a training from every other, for figures measured of it."""
        return f"{variant.name} {seed} {text_digest(self.wanted(variant, seed).to_json())[:16]}"

    def trainer(self, variant: Variant, seed: int) -> Trainer:
        """Return a training to run.

        Raises:
            BadInput: there are no training identities.
        """
        if self.train is None:
            folder = self.run.folder
            raise BadInput(
                f"{self.run.path('embeddings.h5')} has no train split with two identities, and "
                "every table and figure of the paper needs an NFormer trained here. Import the "
                "training embeddings too with: "
                f"{command_line('import-embeddings', 'FILE', '--overwrite', run=folder)}. Without "
                f"them, {command_line('evaluate', '--all', run=folder)} shows what trains nothing"
            )
        config = variant.config(self.trained_by, seed)
        train = learnt_from(self.train, variant, seed=seed)
        return Trainer(train, None, config=config, device=self.device)

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
                facts.update(dataset=self.dataset, steps=wanted.config["steps"])
                save_nformer(path, trained.model, **facts)
            self.run.clear_scratch(scratch)
        return load_nformer(self.run.path(wanted.artifact), device=self.device)

    def subset(self, subset: Subset) -> Embeddings:
        """Return the gallery with so many images of an identity on average."""
        number, seed = subset
        if not number:
            return self.gallery
        people = self.of_people(self.gallery.pids)
        kept = ~people
        kept[people] = drawn_on_average(self.gallery.pids[people], number, seed=seed)
        return self.gallery.select(kept)

    def of_people(self, pids: np.ndarray) -> np.ndarray:
        """Return which rows show somebody, distractors and junk left out."""
        return (pids >= 0) & ~distractors(pids, self.query.pids)

    def measured(self, variant: Variant, *, number: int = 0, rerank: str = "") -> dict[str, Any]:
        """Return a variant's figures over its trainings and draws of the landmarks.

        number: gallery images of an identity on average, drawn for each training anew; 0: all.
        returns: means, and mAP's standard deviations `mAP_over_seeds` and `mAP_over_draws`.
        """
        subsets = self._subsets(number)
        draws, each = landmark_draws(0, self.settings.draws if variant.draws_matter else 1), []
        for seed, subset in zip(self.seeds, subsets * len(self.seeds), strict=False):
            keys = {draw: (self.key_of(variant, seed), draw, *subset, rerank) for draw in draws}
            missing = [draw for draw in draws if self.figures.get(*keys[draw]) is None]
            if missing:
                model, gallery = self.model(variant, seed), self.subset(subset)
                refined = refine_draws(model, self.query, gallery=gallery, seeds=missing)
                for draw, pair in zip(missing, refined, strict=True):
                    self.figures.put(self.scored(pair, rerank), *keys[draw])
            each.append([self.figures.get(*key) or {} for key in keys.values()])
        mean_ap = np.array([[figures["mAP"] for figures in found] for found in each])
        several, drawn = (size > 1 for size in mean_ap.shape)
        return {
            **_mean([_mean(found) for found in each]),
            "mAP_over_seeds": float(mean_ap.mean(axis=1).std()) if several else None,
            "mAP_over_draws": float(mean_ap.std(axis=1).mean()) if drawn else None,
        }

    def _subsets(self, number: int) -> list[Subset]:
        """Return one subset for each seed; where nothing is left out, the whole."""
        if not number or number >= self.mean_images:
            return [WHOLE]
        return [(number, seed) for seed in self.seeds]

    @cached_property
    def mean_images(self) -> float:
        """The mean number of gallery images of an identity, distractors apart."""
        people = self.gallery.pids[self.of_people(self.gallery.pids)]
        return len(people) / max(1, len(np.unique(people)))

    def baseline(self, *, number: int = 0, rerank: str = "") -> Figures:
        """Return the figures of the embeddings as they are, a mean over the subsets."""

        def measure(gallery: Embeddings) -> Figures:
            return self.scored((self.query, gallery), rerank)

        return self._over_subsets(measure, "baseline", number=number, rerank=(rerank,))

    def training_free(self, *, number: int = 0) -> tuple[str, Figures]:
        """Return the refiner without training that has the best mAP here, and its figures.

        It is chosen on the test set itself: nothing that trains has that advantage.
        """
        methods = [Method(chain) for chain in (*((name,) for name in REFINERS), FREE_CHAIN)]
        found = {}
        for method in possible(methods, self.query, gallery=self.gallery, train=self.train)[0]:

            def measure(gallery: Embeddings, names: Sequence[str] = method.refine) -> Figures:
                near = Neighbourhoods(self.query, gallery, device=str(self.device))
                return self.scored(refine_chain(names, near, train=self.train))

            found[method.name] = self._over_subsets(measure, method.name, number=number)
        best = max(found, key=lambda name: found[name]["mAP"])
        return best, found[best]

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

        def measure(gallery: Embeddings) -> Figures:
            pair = (self.query, gallery)
            query, shown = shown_to(pair, aware=uses_cameras(model, pair, wanted="auto"))
            refined = next(refine_draws(model, query, gallery=shown, seeds=[0]))
            return self.scored(relabelled(pair, refined), rerank)

        key = ("own", self.run.digest("nformer.pt")[:16])
        return self._over_subsets(measure, *key, number=number, rerank=(rerank,))

    def _over_subsets(
        self,
        measure: Callable[[Embeddings], Figures],
        *key: str,
        number: int,
        rerank: tuple[str, ...] = (),
    ) -> Figures:
        """Return the mean of what is measured of each subset of the gallery."""

        def figures(subset: Subset) -> Figures:
            return self.cached(lambda: measure(self.subset(subset)), *key, *subset, *rerank)

        return _mean([figures(subset) for subset in self._subsets(number)])

    def scored(self, pair: Pair, rerank: str = "") -> Figures:
        """Return the figures of a query and a gallery, re-ranked or not."""
        near = Neighbourhoods(*pair, device=str(self.device)) if rerank else None
        found = score(*pair, distances=rank_k_reciprocal(near) if near else None)
        return {"mAP": float(found.mean_ap), "rank1": float(found.rank(1))}

    def cached(self, measure: Callable[[], Figures], *key: object) -> Figures:
        """Return the figures of a key, measured now where they were not before."""
        return self.figures.get(*key) or self.figures.put(measure(), *key)


def learnt_from(train: Embeddings, variant: Variant, *, seed: int) -> Embeddings:
    """Return the part of a training set that a variant learns from; smaller ones within larger."""
    kept = np.ones(len(train), bool)
    if variant.identities:
        people = numpy_generator(seed, "learning curve").permutation(np.unique(train.pids))
        kept &= np.isin(train.pids, people[: variant.identities])
    if variant.images:
        kept &= drawing_order(train.pids, seed) < variant.images
    return train if kept.all() else train.select(kept)


def lies_whole(run: Run, wanted: Manifest) -> bool:
    """Return whether exactly this artifact lies in a run; a damaged one is made again."""
    try:
        return run.holds(wanted)
    except BadInput:
        return False


def _mean(figures: Sequence[Figures]) -> Figures:
    return {name: float(np.mean([one[name] for one in figures])) for name in MEASURED}
