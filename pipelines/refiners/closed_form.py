"""What NFormer starts from: standardised rows, and mutual-neighbour sums, all of closed form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from logging import getLogger
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..embeddings import row_blocks
from ..errors import BadInput
from .centring import BLOCK_ROWS, Centring, Means, fit_means
from .domain_shift import ASSUMPTIONS, Assume, Domain, DomainShift
from .edge_gate import EdgeGate, Gated, joined
from .images_per_person import BINS, fitting_neighbours, images_per_person
from .mutual_neighbours import (
    CameraGraph,
    Read,
    camera_graph,
    query_edges,
    read,
    read_gallery,
    sharpened,
)

LOG = getLogger("nformer")


@dataclass(frozen=True, kw_only=True)
class ClosedFormSettings:
    """The closed form. The defaults change nothing: they are the baseline.

    centre:     what is subtracted first: nothing, the set's mean, or each camera's.
    shrinkage:  of the within-identity covariance towards a sphere; 1: no whitening.
    between:    how far directions in which identities do not differ are kept; 0: all as they are.
    neighbours: k of the mutual-neighbour sums, the row itself being one of them; 1: none.
    per_camera: whether the k nearest are taken of every camera, or of all.
    sharpness:  weights of neighbours are exp(sharpness·(cosine - 1)): attention with affinity
                cosine and temperature 1/sharpness; 0: plain sums.
    layers:     how often rows read their neighbours.
    averaged:   pairs of a shrinkage and a between whose metrics, equally good on held-out
                identities, are averaged in place of the one metric; none: that one.
    gate:       whether rows also read their neighbours through the learned edge gate.
    """

    centre: Centring = "none"
    shrinkage: float = 1.0
    between: float = 0.0
    neighbours: int = 1
    per_camera: bool = False
    sharpness: float = 0.0
    layers: int = 1
    averaged: tuple[tuple[float, float], ...] = ()
    gate: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "averaged", tuple(map(tuple, self.averaged)))  # of JSON: lists
        if self.centre not in get_args(Centring):
            raise BadInput(
                f"closed form: centre {self.centre!r} is none of {', '.join(get_args(Centring))}"
            )
        metrics = ((self.shrinkage, self.between), *self.averaged)
        if not all(0 < shrinkage <= 1 and between >= 0 for shrinkage, between in metrics):
            raise BadInput("closed form: shrinkage must be in (0, 1], between at least 0")
        if self.sharpness < 0:
            raise BadInput("closed form: sharpness must be at least 0")
        if self.neighbours < 1 or self.layers < 1:
            raise BadInput("closed form: neighbours and layers must be at least 1")

    @property
    def uses_cameras(self) -> bool:
        """Whether camera ids matter to it."""
        return self.centre == "camera" or (self.per_camera and self.neighbours > 1)

    @property
    def whitens(self) -> bool:
        """Whether rows are whitened or shaped."""
        return self.shrinkage < 1 or self.between > 0 or bool(self.averaged)

    def groups(self, camids: Tensor) -> Tensor:
        """Return the groups [N] that the k nearest are taken of: the cameras, or all as one."""
        return camids if self.per_camera else torch.zeros_like(camids)

    def as_table(self) -> dict[str, Any]:
        """Return the settings as a JSON-able table."""
        return asdict(self) | {"averaged": [list(pair) for pair in self.averaged]}


class ClosedForm(nn.Module):
    """The closed form with what it learned of the training identities.

    mean:    [d], of the training rows.   cameras: [C] int64, sorted.   camera_means: [C, d].
    metric:  [d, d], multiplies centred rows from the right: whitening and shaping.
    images:  of a person, in the galleries that k was chosen for; 0: k fits every set.
    within, between: [BINS] similarities of pairs of the same and of different held-out persons.
    shift:   tells a set that does not look like the training set.   gate: of its edges, or None.
    assume:  whether sets look like it: "auto", as `shift` finds; "same"; "foreign".
    """

    mean: Tensor
    cameras: Tensor
    camera_means: Tensor
    metric: Tensor
    within: Tensor
    between: Tensor
    images: Tensor

    def __init__(self, *, dim: int, cameras: int = 0, **settings: Any) -> None:
        super().__init__()
        self.settings = ClosedFormSettings(**settings)
        self.assume: Assume = "auto"
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("cameras", torch.zeros(cameras, dtype=torch.int64))
        self.register_buffer("camera_means", torch.zeros(cameras, dim))
        self.register_buffer("metric", torch.eye(dim))
        self.register_buffer("within", torch.zeros(BINS))
        self.register_buffer("between", torch.zeros(BINS))
        self.register_buffer("images", torch.zeros(()))
        self.shift = DomainShift(dim=dim, cameras=cameras)
        self.gate = EdgeGate() if self.settings.gate else None

    def means(self, rows: Tensor, camids: Tensor) -> Means:
        """Return the means of unit rows [N, d] with cameras [N] int64, -1 where unknown."""
        training = Means(self.mean.double(), self.cameras, self.camera_means.double())
        return fit_means(rows, camids, centring=self.settings.centre, training=training)

    def standardise(self, rows: Tensor, camids: Tensor, *, means: Means) -> Tensor:
        """Centre, whiten and normalise: [N, d] -> [N, d] float32 unit rows.

        In float64, so that a row comes out the same alone and among others.
        """
        metric = self.metric.double()
        found = torch.empty_like(rows, dtype=torch.float32)
        for part in row_blocks(len(rows), BLOCK_ROWS):
            centred = rows[part] - means.of(camids[part])
            found[part] = functional.normalize(centred @ metric).float()
        return found

    def fitting_neighbours(self, rows: Tensor) -> int:
        """Return k for a set of standardised rows: another where it is unlike those of training."""
        k, chosen_for = self.settings.neighbours, float(self.images)
        if not chosen_for:
            return k
        found = images_per_person(rows, self.within, between=self.between)
        if found is None:
            return k
        fitting = fitting_neighbours(k, chosen_for=chosen_for, found=found)
        if fitting != k:
            LOG.warning(
                "about %.1f images of each person here, %.1f where k = %d was chosen: k is %d",
                found, chosen_for, k, fitting,
            )  # fmt: skip
        return fitting

    def domain(self, rows: Tensor, camids: Tensor) -> Domain:
        """Return whether unit rows [N, d] with cameras [N] look like the training set."""
        return Domain(self.shift.of(rows, camids), self.assume)

    @torch.no_grad()
    def gallery(
        self, rows: Tensor, camids: Tensor, *, neighbours: int | None = None
    ) -> "ClosedFormGallery":
        """Refine a set and keep what a query that joins it needs: [G, d] unit rows, [G] int64.

        A set that does not look like the training set stays as it is.
        """
        domain, settings = self.domain(rows, camids), self.settings
        means = self.means(rows, camids)
        if domain.foreign:
            return ClosedFormGallery(rows, camids, means, domain, (rows,), (), None, rows)
        states = self.standardise(rows, camids, means=means)
        k = self.fitting_neighbours(states) if neighbours is None else neighbours
        hidden, graphs = [states], []
        for _ in range(settings.layers if k > 1 else 0):
            graphs.append(camera_graph(hidden[-1], groups=settings.groups(camids), k=k))
            hidden.append(read_gallery(hidden[-1], graphs[-1], sharpness=settings.sharpness))
        gated, refined = None, hidden[-1]
        if self.gate is not None:
            gated = Gated.of(states, camids)
            refined = joined(refined, self.gate.read_items(gated))
        return ClosedFormGallery(
            rows, camids, means, domain, tuple(hidden), tuple(graphs), gated, refined
        )

    @torch.no_grad()
    def query(
        self,
        gallery: "ClosedFormGallery",
        rows: Tensor,
        *,
        camids: Tensor,
        read: Read = read,
    ) -> Tensor:
        """Refine queries [Q, d] against a refined set, each as if it were the only one.

        read: does what `mutual_neighbours.read` does at each layer, and may record what it reads.
        """
        if gallery.domain.foreign:
            return rows
        own = states = self.standardise(rows, camids, means=gallery.means)
        for items, graph in zip(gallery.hidden, gallery.graphs, strict=False):
            listed = query_edges(states, camids, rows=items, graph=graph)
            weights = sharpened(states, items, listed=listed, sharpness=self.settings.sharpness)
            states = read(states, items, lists=listed[0], weights=weights)
        if self.gate is None or gallery.gated is None:
            return states
        lists, weights = self.gate.edges(gallery.gated, own, camids=camids)
        return joined(states, read(own, gallery.gated.rows, lists=lists, weights=weights))


@dataclass(frozen=True, eq=False)
class ClosedFormGallery:
    """A set that a closed form has refined.

    rows:    [G, d] unit rows as they came, and camids [G] their cameras.
    means:   what was subtracted.   domain: whether the set looked like the training set.
    hidden:  [layers + 1] tensors [G, d]: before each layer and after the last.
    graphs:  one for each layer.   gated: what is read through the gate, if any.
    refined: [G, d] unit rows, what is made of all that.
    """

    rows: Tensor
    camids: Tensor
    means: Means
    domain: Domain
    hidden: tuple[Tensor, ...]
    graphs: tuple[CameraGraph, ...]
    gated: Gated | None
    refined: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it by name, for a file."""
        found = {"rows": self.rows, "camids": self.camids}
        found["shift"] = torch.tensor(self.domain.shift, dtype=torch.float64)
        found["assume"] = torch.tensor(ASSUMPTIONS.index(self.domain.assume))
        found |= {f"means/{name}": getattr(self.means, name) for name in MEANS}
        found |= {f"hidden/{number}": states for number, states in enumerate(self.hidden)}
        for number, graph in enumerate(self.graphs):
            found |= {f"graph/{number}/{name}": getattr(graph, name) for name in GRAPH}
            found[f"graph/{number}/neighbours"] = torch.tensor(graph.neighbours)
        if self.gated is not None:
            found |= {f"gated/{name}": getattr(self.gated, name) for name in GATED}
            found["refined"] = self.refined
        return found

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> "ClosedFormGallery":
        """Return what `tensors` named."""
        layers = sum(name.startswith("hidden/") for name in tensors) - 1
        hidden = tuple(tensors[f"hidden/{number}"] for number in range(layers + 1))
        graphs = [
            CameraGraph(
                **{name: tensors[f"graph/{number}/{name}"] for name in GRAPH},
                neighbours=int(tensors[f"graph/{number}/neighbours"]),
            )
            for number in range(layers)
        ]
        gated = None
        if "refined" in tensors:
            gated = Gated(
                hidden[0], tensors["camids"], **{name: tensors[f"gated/{name}"] for name in GATED}
            )
        return ClosedFormGallery(
            tensors["rows"],
            tensors["camids"],
            Means(**{name: tensors[f"means/{name}"] for name in MEANS}),
            Domain(float(tensors["shift"]), ASSUMPTIONS[int(tensors["assume"])]),
            hidden,
            tuple(graphs),
            gated,
            tensors.get("refined", hidden[-1]),
        )


MEANS = ("centre", "cameras", "means")
GATED = ("lists", "cosines")
GRAPH = ("lists", "kept", "reach", "groups", "cameras")


def camera_ids(camids: Any, rows: int, *, device: torch.device | str) -> Tensor:
    """Return camera ids as [N] int64 on a device, -1 everywhere where there are none."""
    if camids is None:
        return torch.full((rows,), -1, dtype=torch.int64, device=device)
    found = torch.as_tensor(camids).to(device, torch.int64)
    if found.shape != (rows,):
        raise BadInput(f"{rows} embeddings, but camera ids of the shape {list(found.shape)}")
    return found
