"""NFormer on arrays: fit on training embeddings, refine a query and a gallery, no files to name."""

import os
import tempfile
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..artifacts.nformer import load_nformer, save_nformer
from ..config import NFormerConfig
from ..device import choose_device
from ..embeddings import Embeddings
from ..errors import BadInput
from ..files import replacing
from ..progress import Progress, Silent
from ..refiners.training_free import as_embeddings, as_given
from ..settings import configure
from .fit import fit_nformer

if TYPE_CHECKING:
    from ..nformer.model import NFormer
    from ..refiners.domain_shift import Assume, Domain

LOG = getLogger("nformer")


class NeighbourRefiner:
    """Learn to refine embeddings by their neighbours, and refine with what was learned.

        refiner = NeighbourRefiner(neighbours=20).fit(train_features, train_pids, train_camids)
        query, gallery = refiner.refine(query, gallery)

    Arrays are numpy or torch, [N, d] of any d; refined arrays are of the kind that came in, tensors
    on the device that they came from. Embeddings do as well, and bring their labels. Training is
    that of `nformer train-nformer`, with its settings (`neighbours`, `steps`, `lr`, …) as keywords.

    protocol: "isolated", each query refined as if it were the only one, or "joint".
    seed:     of the training, and of the landmarks drawn to refine.
    assume:   whether galleries look like the training set: "auto" finds out, and leaves one that
              does not as it is, with a warning; "same" or "foreign".
    device:   where to train; refinement runs there too, or where the tensors given are.

    Raises:
        BadInput: a setting that does not exist, or a value that it cannot have.
    """

    def __init__(
        self,
        *,
        recipe: str | None = None,
        protocol: Literal["isolated", "joint"] = "isolated",
        assume: "Assume" = "auto",
        device: str = "auto",
        **settings: Any,
    ) -> None:
        self.config: NFormerConfig = configure("nformer", recipe=recipe, options=settings)
        self.protocol, self.assume, self.device = protocol, assume, choose_device(device)
        self.model: NFormer | None = None
        self.facts: dict[str, Any] = {}

    def fit(
        self,
        features: Any,
        pids: Any = None,
        camids: Any = None,
        progress: Progress = Silent(),
    ) -> "NeighbourRefiner":
        """Train on embeddings whose persons are known.

        features: Embeddings, or [N, d].   pids: [N], numbers or text; rows with a negative one are
                  left out.
        camids:   [N], where cameras are known.
        progress: is told what is done, and how far; `nformer_cli.console.TerminalProgress()` shows
                  it as the command line does. By default nothing is shown.
        Afterwards `facts` tells, among others, the held-out identities' mAP before and after.

        Raises:
            BadInput: shapes that do not agree, NaN rows, fewer than two identities.
        """
        train = (
            features
            if isinstance(features, Embeddings)
            else Embeddings(features, pids=pids, camids=camids)
        )
        with tempfile.TemporaryDirectory(prefix="nformer-") as folder:  # of checkpoints
            model, self.facts = fit_nformer(
                train,
                self.config,
                device=self.device,
                folder=Path(folder),
                log=Path(folder) / "train.jsonl",
                key="",
                progress=progress,
                remedy="fit(features, pids)",
            )
        self.model = model.eval().to(self.device)
        return self

    def refine(
        self, query: Any, gallery: Any, *, query_camids: Any = None, gallery_camids: Any = None
    ) -> tuple[Any, Any]:
        """Return the refined query and gallery, in the kind given: arrays [Q, d] and [G, d].

        Raises:
            BadInput: not fitted, another width than that fitted on, NaN or zero rows.
        """
        from ..gallery.refinement import refine_draws
        from ..nformer.on_closed_form import NFormerOnClosedForm

        if self.model is None:
            raise BadInput("this NeighbourRefiner has learned nothing yet; call fit, or load")
        where = gallery.device if hasattr(gallery, "detach") else self.device
        pair = as_embeddings(query, query_camids), as_embeddings(gallery, gallery_camids)
        model = self.model.to(where)
        if isinstance(model, NFormerOnClosedForm):
            model.closed_form.assume = self.assume
        refined = next(
            refine_draws(
                model,
                pair[0],
                gallery=pair[1],
                seeds=[self.config.seed],
                protocol=self.protocol,
                tell=_warned,
            )
        )
        return as_given(query, refined[0]), as_given(gallery, refined[1])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write what was learned; `load`, and `nformer evaluate --model`, read it."""
        if self.model is None:
            raise BadInput("this NeighbourRefiner has learned nothing yet; call fit, or load")
        with replacing(Path(path)) as temporary:
            save_nformer(temporary, self.model, **self.facts)
        return Path(path)

    def load(self, path: str | os.PathLike[str]) -> "NeighbourRefiner":
        """Take what was learned from a file: one of `save`, or a run's nformer.pt."""
        self.model = load_nformer(Path(path), device=self.device)
        return self


def _warned(domain: "Domain") -> None:
    if domain.foreign:
        LOG.warning("%s", domain)
