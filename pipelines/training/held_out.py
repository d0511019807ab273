"""Identities kept out of a training, and what refinement does to their ranking."""

from dataclasses import dataclass

import numpy as np

from ..embeddings import Embeddings
from ..gallery.refinement import refine
from ..nformer.model import NFormer
from ..ranking.matches import Matches
from ..ranking.metrics import score
from ..seeding import numpy_generator
from .folds import choose_queries

ENOUGH = 32  # identities from which on at least SMALLEST are held out
SMALLEST = 8


def split_identities(
    train: Embeddings, *, share: float, seed: int
) -> tuple[Embeddings, Embeddings | None]:
    """Return the embeddings to train on and those of a seeded share of the identities.

    At least 8 of 32 identities or more, at least 2 of fewer; none where that leaves fewer than 2.
    """
    identities = np.unique(train.pids)
    least = SMALLEST if len(identities) >= ENOUGH else 2
    count = max(least, round(share * len(identities))) if share > 0 else 0
    if not count or len(identities) - count < 2:
        return train, None
    kept_out = numpy_generator(seed, "held out").choice(identities, count, replace=False)
    mask = np.isin(train.pids, kept_out)
    return train.select(~mask), train.select(mask)


@dataclass(frozen=True)
class HeldOut:
    """Held-out identities as a small test set of their own: never trained on."""

    query: Embeddings
    gallery: Embeddings

    @staticmethod
    def of(embeddings: Embeddings, *, seed: int) -> "HeldOut | None":
        """Make queries of one image of each identity and camera; the rest is the gallery.

        Of one image of each identity, where cameras have no more images of it.
        None where no query has a match: every identity was seen once, or by one camera only.
        """
        for least in (1, 2):
            random = numpy_generator(seed, "held-out queries")
            chosen = choose_queries(embeddings.pids, embeddings.camids, random=random, least=least)
            query, gallery = embeddings.select(chosen), embeddings.select(~chosen)
            if Matches(query, gallery).any_valid():
                return HeldOut(query, gallery)
        return None

    @property
    def identities(self) -> int:
        """The number of identities held out."""
        return len(np.unique(np.concatenate([self.query.pids, self.gallery.pids])))

    def baseline(self) -> float:
        """Return the mAP of the embeddings as they are."""
        return score(self.query, self.gallery).mean_ap

    def refined(self, model: NFormer, *, landmarks: str, seed: int) -> float:
        """Return the mAP after refinement, each query on its own."""
        pair = refine(model, self.query, self.gallery, landmarks=landmarks, seed=seed)
        return score(*pair).mean_ap
