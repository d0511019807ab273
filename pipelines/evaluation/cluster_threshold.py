"""Training identities -> the threshold that clusters identities which were held out best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..clustering.constraints import Constraints
from ..clustering.methods import hierarchy
from ..clustering.names import PLAIN, REFINED
from ..clustering.threshold import Chosen, Trial, by_identities
from ..config import ClusterConfig
from ..embeddings import Embeddings
from ..gallery.calibration import some_identities
from ..neighbours.checked import unit_rows
from ..neighbours.graph import neighbour_graph
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..refiners.closed_form import camera_ids
from ..seeding import numpy_generator
from .cluster_sources import joined
from .foresee import SPREADS, spread_together
from .recommend import Trial as HeldOut
from .recommend import refined_trial

MOST = 10_000  # training rows, and rows to cluster, that are looked at
MATCHED = 2  # trials that a spread is chosen on: halves, so that each identity is in one of them


@dataclass(frozen=True)
class Calibrated:
    """What held-out identities say, by kind of embeddings: as they are, and refined.

    chosen:   the best threshold, with the figures of identities spread as wide as `compared`.
    spreads:  how many times as wide held-out identities were spread for the threshold.
    compared: of these spreads, one at which refined rows are worse; the widest where at none.
    """

    chosen: Mapping[str, Chosen]
    spreads: Mapping[str, float]
    compared: float

    @property
    def worse(self) -> bool:
        """Whether refined embeddings cluster held-out identities worse than those as they are."""
        return _worse(self.chosen)

    def __str__(self) -> str:
        said = ", ".join(
            f"{kind} {100 * (one.bcubed or 0):.1f} and {100 * (one.pairwise or 0):.1f}"
            for kind, one in self.chosen.items()
        )
        wide = f", spread {self.compared:g} times as wide" if self.compared > 1 else ""
        return f"held-out identities{wide}, BCubed and pairwise F: {said}"


def calibrated(
    trials: Sequence[HeldOut],
    *,
    train: Embeddings,
    rows: Mapping[str, Embeddings],
    gallery: Embeddings | None = None,
    strangers: bool,
    model: NFormer | None,
    config: ClusterConfig,
) -> Calibrated:
    """Return the best threshold on training identities: for rows as they are, and refined.

    They are clustered among the rows to cluster, which show other people: the more rows there are,
    the more of them are alike by chance, and the higher the best threshold is. What falls into a
    cluster with those counts as wrong.

    They are refined as the rows are: by a form with the k that it takes for these.

    A network draws the identities that it was trained on together, as it never will others: their
    best threshold is too strict for others. So held-out identities are spread about their means
    until their rows are as near to their nearest rows as the rows to cluster are.

    Nothing was fitted for rows as they are, so all training rows are clustered at once for their
    threshold. Their figures are those of the trials, as those of the refined rows are, and both
    are of identities spread alike, so that the two can be compared: at the spread of either.

    trials:    see `recommend.trials_of`; each is clustered by itself, and means are taken.
    rows:      those to cluster, by kind.
    gallery:   those that were read to refine them; None: all of them.
    strangers: whether they show other people than `train`; if not, neither is anything spread.
    model:     what refines; of one on a closed form, the form is fitted on the other identities.
    """
    kinds = [PLAIN] if model is None else [PLAIN, REFINED]
    some = {kind: nobody(rows[kind], seed=config.seed) for kind in kinds}
    read = _neighbours_for(model, gallery or rows[PLAIN])
    among = Among(
        trials, some[PLAIN] if strangers else None, model=model, neighbours=read, config=config
    )
    spreads = {kind: among.spread(kind, like=some[kind]) if strangers else 1.0 for kind in kinds}
    thresholds: dict[str, float] = {}
    figures: dict[float, dict[str, Chosen]] = {}
    for spread in sorted(set(spreads.values())):
        figures[spread] = {kind: among.chosen(kind, spread=spread) for kind in kinds}
        thresholds |= {
            kind: figures[spread][kind].threshold for kind in kinds if spreads[kind] == spread
        }
    some_train = some_identities(train, most=MOST, seed=config.seed)
    whole = _of([*spread_together([some_train], factor=spreads[PLAIN]), *among.beside], config)
    thresholds[PLAIN] = by_identities([whole]).threshold
    worse = [spread for spread, found in figures.items() if _worse(found)]
    compared = max(worse or figures)
    chosen = {
        kind: replace(one, threshold=thresholds[kind]) for kind, one in figures[compared].items()
    }
    return Calibrated(chosen, spreads, compared)


def _worse(found: Mapping[str, Chosen]) -> bool:
    return REFINED in found and found[REFINED].worse_than(found[PLAIN])


class Among:
    """Held-out identities among strangers, of whom nothing is known; None: alone.

    neighbours: k of the closed form that refines them; None: the model's.
    """

    def __init__(
        self,
        trials: Sequence[HeldOut],
        strangers: Embeddings | None,
        *,
        config: ClusterConfig,
        model: NFormer | None = None,
        neighbours: int | None = None,
    ) -> None:
        self.trials, self.model, self.neighbours = trials, model, neighbours
        self.beside, self.config = [] if strangers is None else [strangers], config

    def chosen(self, kind: str, *, spread: float) -> Chosen:
        """Return the threshold that is best on all trials, for identities spread so wide."""
        return by_identities(
            [_of(self._parts(one, kind, spread=spread), self.config) for one in self.trials]
        )

    def spread(self, kind: str, *, like: Embeddings) -> float:
        """Return how much wider identities must be spread to be as near to others as some rows.

        Of all spreads from 1 on, up to the first that brings them no closer to that.
        """
        wanted = nearness(unit_rows(like.features, "embeddings")).mean()
        best, least = 1.0, np.inf
        for spread in SPREADS:
            apart = abs(self._nearness(kind, spread=spread) - wanted)
            if apart >= least:
                break
            best, least = spread, apart
        return best

    def _nearness(self, kind: str, *, spread: float) -> float:
        found = []
        for one in self.trials[:MATCHED]:
            rows, pids = _rows_of(self._parts(one, kind, spread=spread))
            found.append(nearness(rows)[pids >= 0])
        return float(np.concatenate(found).mean())

    def _parts(self, one: HeldOut, kind: str, *, spread: float) -> list[Embeddings]:
        """Return a trial's query and gallery, and the strangers, of a kind of embeddings."""
        query, gallery = spread_together([one.query, one.gallery], factor=spread)
        if kind == PLAIN:
            return [query, gallery, *self.beside]
        assert self.model is not None
        wide = replace(one, query=query, gallery=joined([gallery, *self.beside]))
        return list(refined_trial(wide, self.model, neighbours=self.neighbours))


def nearness(rows: np.ndarray) -> np.ndarray:
    """Return the cosine of each unit row [N, d] and the nearest other one: [N]."""
    nearest: np.ndarray = neighbour_graph(rows, 2, device="cpu").similarity[:, 1]
    return nearest


def _neighbours_for(model: NFormer | None, rows: Embeddings) -> int | None:
    """Return the k that a model on a closed form takes for some rows; None of other models."""
    if not isinstance(model, NFormerOnClosedForm):
        return None
    form, features = model.closed_form, torch.from_numpy(unit_rows(rows.features, "embeddings"))
    camids = camera_ids(rows.camids, len(rows), device="cpu")
    means = form.means(features, camids)
    return form.fitting_neighbours(form.standardise(features, camids, means=means))


def nobody(rows: Embeddings, *, seed: int) -> Embeddings:
    """Return at most MOST rows without identities and further labels."""
    drawn = numpy_generator(seed, "strangers").permutation(len(rows))[:MOST]
    some = rows.select(np.sort(drawn))
    return Embeddings(some.features, None, some.camids, some.names)  # type: ignore[arg-type]


def _rows_of(parts: Sequence[Embeddings]) -> tuple[np.ndarray, np.ndarray]:
    rows = unit_rows(np.concatenate([one.features for one in parts]), "held-out embeddings")
    return rows, np.concatenate([one.pids for one in parts])


def _of(parts: Sequence[Embeddings], config: ClusterConfig) -> Trial:
    rows, pids = _rows_of(parts)
    graph = neighbour_graph(rows, config.neighbours, device="cpu")
    nothing = Constraints(len(rows))
    return Trial(hierarchy(config.method, rows, graph=graph, constraints=nothing), pids)
