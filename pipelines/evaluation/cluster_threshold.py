"""Training identities -> the threshold that clusters identities which were held out best."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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
from ..seeding import numpy_generator
from .cluster_sources import joined
from .recommend import Trial as HeldOut
from .recommend import refined_trial

MOST = 10_000  # training rows, and rows to cluster, that are looked at


def calibrated(
    trials: Sequence[HeldOut],
    *,
    train: Embeddings,
    strangers: Embeddings | None,
    model: NFormer | None,
    config: ClusterConfig,
) -> dict[str, Chosen]:
    """Return the best threshold on training identities: for rows as they are, and refined.

    They are clustered among the rows to cluster, which show other people: the more rows there are,
    the more of them are alike by chance, and the higher the best threshold is. What falls into a
    cluster with those counts as wrong.

    Nothing was fitted for rows as they are, so all training rows are clustered at once for their
    threshold. Their figures are those of the trials, as those of the refined rows are, so that
    the two can be compared.

    trials:    see `recommend.trials_of`; each is clustered by itself, and means are taken.
    strangers: the rows to cluster; None where they may show training identities.
    model:     what refines; of one on a closed form, the form is fitted on the other identities.
    """
    others = None if strangers is None else _nobody(strangers, seed=config.seed)
    beside = [] if others is None else [others]
    some = some_identities(train, most=MOST, seed=config.seed)
    whole = by_identities([_of([some, *beside], config)])
    apart = by_identities([_of([one.query, one.gallery, *beside], config) for one in trials])
    found = {PLAIN: replace(apart, threshold=whole.threshold)}
    if model is not None:
        among = [replace(one, gallery=joined([one.gallery, *beside])) for one in trials]
        pairs = [refined_trial(one, model) for one in among]
        found[REFINED] = by_identities([_of(pair, config) for pair in pairs])
    return found


def _nobody(strangers: Embeddings, *, seed: int) -> Embeddings:
    """Return at most MOST rows without identities and further labels."""
    drawn = numpy_generator(seed, "strangers").permutation(len(strangers))[:MOST]
    some = strangers.select(np.sort(drawn))
    return Embeddings(some.features, None, some.camids, some.names)  # type: ignore[arg-type]


def _of(parts: Sequence[Embeddings], config: ClusterConfig) -> Trial:
    rows = unit_rows(np.concatenate([one.features for one in parts]), "held-out embeddings")
    pids = np.concatenate([one.pids for one in parts])
    graph = neighbour_graph(rows, config.neighbours, device="cpu")
    nothing = Constraints(len(rows))
    return Trial(hierarchy(config.method, rows, graph=graph, constraints=nothing), pids)
