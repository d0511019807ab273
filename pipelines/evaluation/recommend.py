"""Which refiner to use: compared on held-out training identities, never on the test set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..artifacts.embeddings import load_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run
from ..embeddings import Embeddings
from ..errors import BadInput
from ..gallery.refinement import refine
from ..neighbours.checked import unit_rows
from ..neighbours.graph import Neighbourhoods
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..ranking.metrics import score
from ..refiners.chain import refine_chain
from ..refiners.closed_form import camera_ids
from ..refiners.domain_shift import Assume, Domain
from ..refiners.fitting import TrainingRows, fit_shift
from ..training.default_model import closed_form_rows
from ..training.folds import PLAN, identity_splits
from ..training.held_out import HeldOut, split_identities
from .plan import NFORMER, Method, possible

AUTO = "auto"
CHAINS: tuple[tuple[str, ...], ...] = (
    (),
    ("aqe",),
    ("nfc",),
    ("camera",),
    ("camera", "nfc"),
    ("camera", "whiten"),
    ("camera", "whiten", "nfc"),
    ("whiten",),
    ("whiten", "nfc"),
    ("gcr",),
)
TIE = 0.003  # mAP by which another must beat NFormer, whose choice was made on the same identities


@dataclass(frozen=True)
class Recommendation:
    """The refiners recommended, and every chain's mAP on held-out identities, best first.

    domain: of a gallery that does not look like training: nothing was compared.
    """

    refine: tuple[str, ...]
    held_out: dict[str, float]
    folds: int
    domain: Domain | None = None

    def describe(self) -> str:
        """Return one line: what is recommended, and what it was compared with."""
        if self.domain is not None:
            return f"auto: baseline is recommended; {self.domain}"
        name = ",".join(self.refine) or "baseline"
        figures = ", ".join(f"{other} {100 * value:.1f}" for other, value in self.held_out.items())
        return f"auto: {name} is recommended; mAP on held-out training identities: {figures}"


@dataclass(frozen=True, eq=False)
class Trial:
    """Identities to fit on, and others to try refiners on."""

    fit: Embeddings
    query: Embeddings
    gallery: Embeddings


def recommend(run: Run, *, seed: int = 0, assume: Assume = "auto") -> Recommendation:
    """Compare the baseline, the training-free refiners and NFormer, and recommend one.

    The baseline, without a comparison, where the gallery does not look like the training set.

    Raises:
        BadInput: no train split with two identities, or none of them with a match.
    """
    train = load_embeddings(run.artifact("embeddings.h5"), "train").without_junk()
    model, manifest = None, run.manifest("nformer.pt")
    if manifest is not None:
        model = load_nformer(run.artifact("nformer.pt"))
    domain = domain_of(
        train, load_embeddings(run.artifact("embeddings.h5"), "gallery"), assume=assume
    )
    if domain.foreign:
        return Recommendation((), {}, 0, domain)
    trials = list(trials_of(train, model, manifest=manifest, seed=seed))
    if not trials:
        raise BadInput(
            "--refine auto compares refiners on held-out training identities, and none has a match "
            "in another camera; name a refiner instead"
        )
    methods = [Method(chain) for chain in CHAINS]
    methods = possible(methods, trials[0].query, gallery=trials[0].gallery, train=train)[0]
    found = {
        method.name: float(np.mean([tried(trial, method.refine) for trial in trials]))
        for method in methods
    }
    if model is not None:
        found[NFORMER] = float(np.mean([_nformer(trial, model) for trial in trials]))
    best = max(found, key=lambda name: found[name])
    if found.get(NFORMER, -1.0) >= found[best] - TIE:
        best = NFORMER
    ordered = dict(sorted(found.items(), key=lambda item: -item[1]))
    chain = () if best == "baseline" else tuple(best.split(","))
    return Recommendation(chain, ordered, len(trials))


def domain_of(train: Embeddings, gallery: Embeddings, *, assume: Assume = "auto") -> Domain:
    """Return whether a gallery looks like a training set, by the embeddings as they are."""
    if len(np.unique(train.pids)) < 2:
        return Domain(1.0, assume)
    shift = fit_shift(TrainingRows.of(train.features, train.pids, camids=train.camids))
    rows = torch.from_numpy(unit_rows(gallery.features, "gallery"))
    return Domain(shift.of(rows, camera_ids(gallery.camids, len(gallery), device="cpu")), assume)


def trials_of(
    train: Embeddings,
    model: NFormer | None,
    *,
    manifest: Manifest | None,
    seed: int,
    plan: Sequence[tuple[int, int]] = PLAN,
) -> Iterator[Trial]:
    """Yield the folds; of a plain NFormer, the identities kept out of its training.

    manifest: of the model.   plan: (parts, repetitions) of the identities.
    """
    if len(np.unique(train.pids)) < 2:
        return
    if model is None or isinstance(model, NFormerOnClosedForm):
        for split in identity_splits(train.pids, train.camids, seed=seed, plan=plan):
            yield Trial(*map(train.select, (split.fit, split.query, split.gallery)))
        return
    assert manifest is not None
    share, chosen = manifest.config.get("held_out", 0.0), manifest.config.get("seed", 0)
    fit, apart = split_identities(train, share=share, seed=chosen)
    held_out = HeldOut.of(apart, seed=chosen) if apart is not None else None
    if held_out is not None:
        yield Trial(fit, held_out.query, held_out.gallery)


def tried(trial: Trial, chain: tuple[str, ...]) -> float:
    """Return a trial's mAP after some refiners."""
    near = Neighbourhoods(trial.query, trial.gallery, device="cpu")
    pair = refine_chain(chain, near, train=trial.fit) if chain else (trial.query, trial.gallery)
    return score(*pair).mean_ap


def _nformer(trial: Trial, model: NFormer) -> float:
    return score(*refined_trial(trial, model)).mean_ap


def refined_trial(
    trial: Trial, model: NFormer, *, neighbours: int | None = None
) -> tuple[Embeddings, Embeddings]:
    """Return a trial's query and gallery refined by NFormer.

    Of one on a closed form, by that form fitted on the trial's other identities.

    neighbours: k of that form; None: the model's.
    """
    if not isinstance(model, NFormerOnClosedForm):
        return refine(model, trial.query, trial.gallery)
    settings = model.closed_form.settings
    if neighbours is not None:
        settings = replace(settings, neighbours=neighbours)
    query, gallery = closed_form_rows(
        trial.fit,
        trial.query,
        gallery=trial.gallery,
        settings=settings,
        gate=model.closed_form.gate,
    )
    assert query is not None
    return trial.query.with_features(query), trial.gallery.with_features(gallery)
