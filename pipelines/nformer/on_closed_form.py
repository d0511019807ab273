"""NFormer on top of a prior: what the closed form gives, and a share of what was learned."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import BadInput
from ..refiners.closed_form import Prior, PriorGallery
from .model import NFormer


class PriorNFormer(NFormer):
    """An NFormer whose blocks read rows that a prior has refined, and add to them.

    refined = normalise(p + share · normalise(NFormer(p))), p being the prior's unit rows. With
    share 0 there are no blocks: the model is the closed form.

    prior:   `PriorSettings` as a table; its neighbours are the model's.
    cameras: how many cameras the training rows had.
    share:   of the learned part.
    The other settings are NFormer's.
    """

    def __init__(
        self, *, prior: dict[str, Any], cameras: int = 0, share: float = 0.0, **settings: Any
    ) -> None:
        if share < 0:
            raise BadInput(f"PriorNFormer: share must be at least 0, not {share}")
        settings["neighbours"] = prior.get("neighbours", 1)
        settings["layers"] = settings.get("layers", 4) if share else 1
        super().__init__(**settings)
        self.share = share
        if not share:
            self.blocks = nn.ModuleList()
        self.prior = Prior(dim=self.dim, cameras=cameras, **prior)
        self.settings.update(prior=self.prior.settings.as_table(), cameras=cameras, share=share)

    @staticmethod
    def joined(prior: Prior, learned: NFormer | None, *, share: float) -> "PriorNFormer":
        """Put a fitted prior and an NFormer trained on its rows together."""
        table: dict[str, Any] = {"dim": len(prior.mean), "classes": 1, "landmarks": 1}
        if learned is not None and share:
            table = dict(learned.settings)
        model = PriorNFormer(
            prior=prior.settings.as_table(),
            cameras=len(prior.cameras),
            share=share if learned is not None else 0.0,
            **table,
        )
        if learned is not None and share:
            model.load_state_dict(learned.state_dict(), strict=False)
        model.prior.load_state_dict(prior.state_dict())
        return model.eval()

    @property
    def uses_cameras(self) -> bool:
        """Whether camera ids matter at test time."""
        return self.prior.settings.uses_cameras

    def start(self, gallery: Tensor, camids: Tensor) -> PriorGallery:
        """Return a gallery as the prior refines it, kept for queries."""
        as_chosen = self.neighbours == self.prior.settings.neighbours
        return self.prior.gallery(
            gallery, camids, neighbours=None if as_chosen else self.neighbours
        )

    def before(
        self,
        gallery: Tensor,
        gallery_camids: Tensor,
        query: Tensor | None = None,
        query_camids: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor]:
        """Return the prior's rows of queries and gallery."""
        started, asking = self.start(gallery, gallery_camids), None
        if query is not None and query_camids is not None:
            asking = self.prior.query(started, query, query_camids)
        return asking, started.hidden[-1]

    @torch.no_grad()
    def after(self, rows: Tensor, refined: Tensor) -> Tensor:
        """Add a share of what the blocks made of the prior's rows: [N, d], [N, d] -> [N, d]."""
        if not self.share:
            return rows
        return functional.normalize(rows + self.share * functional.normalize(refined))


def build_model(settings: dict[str, Any]) -> NFormer:
    """Return an untrained model from what another's `settings` recorded."""
    return PriorNFormer(**settings) if "prior" in settings else NFormer(**settings)
