"""NFormer on top of a closed form: what the closed form gives, and a share of what was learned."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import BadInput
from ..refiners.closed_form import ClosedForm, ClosedFormGallery
from .model import NFormer


class NFormerOnClosedForm(NFormer):
    """An NFormer whose blocks read rows that a closed form has refined, and add to them.

    refined = normalise(c + share · normalise(NFormer(c))), c being its unit rows. With
    share 0 there are no blocks: the model is the closed form.

    closed_form:   `ClosedFormSettings` as a table; its neighbours are the model's.
    cameras: how many cameras the training rows had.
    share:   of the learned part.
    The other settings are NFormer's.
    """

    def __init__(
        self, *, closed_form: dict[str, Any], cameras: int = 0, share: float = 0.0, **settings: Any
    ) -> None:
        if share < 0:
            raise BadInput(f"NFormerOnClosedForm: share must be at least 0, not {share}")
        settings["neighbours"] = closed_form.get("neighbours", 1)
        settings["layers"] = settings.get("layers", 4) if share else 1
        super().__init__(**settings)
        self.share = share
        if not share:
            self.blocks = nn.ModuleList()
        self.closed_form = ClosedForm(dim=self.dim, cameras=cameras, **closed_form)
        self.settings.update(
            closed_form=self.closed_form.settings.as_table(), cameras=cameras, share=share
        )

    @staticmethod
    def joined(
        closed_form: ClosedForm, learned: NFormer | None, *, share: float
    ) -> "NFormerOnClosedForm":
        """Put a fitted closed form and an NFormer trained on its rows together."""
        table: dict[str, Any] = {"dim": len(closed_form.mean), "classes": 1, "landmarks": 1}
        if learned is not None and share:
            table = dict(learned.settings)
        model = NFormerOnClosedForm(
            closed_form=closed_form.settings.as_table(),
            cameras=len(closed_form.cameras),
            share=share if learned is not None else 0.0,
            **table,
        )
        if learned is not None and share:
            model.load_state_dict(learned.state_dict(), strict=False)
        model.closed_form.load_state_dict(closed_form.state_dict())
        return model.eval()

    @property
    def kind(self) -> str:
        """What the model is: the parts that it has."""
        gate = ", gate" if self.closed_form.gate is not None else ""
        return f"closed form{gate}{', NFormer' if self.share else ''}"

    @property
    def uses_cameras(self) -> bool:
        """Whether camera ids matter at test time."""
        gate = self.closed_form.gate
        return self.closed_form.settings.uses_cameras or (gate is not None and gate.uses_cameras)

    def start(self, gallery: Tensor, camids: Tensor) -> ClosedFormGallery:
        """Return a gallery as the closed form refines it, kept for queries."""
        as_chosen = self.neighbours == self.closed_form.settings.neighbours
        return self.closed_form.gallery(
            gallery, camids, neighbours=None if as_chosen else self.neighbours
        )

    @torch.no_grad()
    def after(self, rows: Tensor, refined: Tensor, *, start: Any = None) -> Tensor:
        """Add a share of what the blocks made of its rows: [N, d], [N, d] -> [N, d].

        start: the set as the closed form refined it; None: one that looks like training.
        """
        if not self.share or (start is not None and start.domain.foreign):
            return rows
        return functional.normalize(rows + self.share * functional.normalize(refined))


def build_model(settings: dict[str, Any]) -> NFormer:
    """Return an untrained model from what another's `settings` recorded.

    Raises:
        ValueError: they are those of an earlier version.
    """
    if "prior" in settings:
        raise ValueError("its closed form has the settings of an earlier version")
    return NFormerOnClosedForm(**settings) if "closed_form" in settings else NFormer(**settings)
