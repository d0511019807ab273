"""What NFormer starts from: standardised rows, and mutual-neighbour sums, all of closed form."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from logging import getLogger
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..embeddings import row_blocks
from ..errors import BadInput
from .centring import BLOCK_ROWS, Centring, Means, fit_means
from .images_per_person import (
    BINS,
    as_spread,
    fitting_neighbours,
    images_per_person,
    pair_histogram,
)
from .mutual_neighbours import (
    CameraGraph,
    camera_graph,
    query_edges,
    read_gallery,
    read_listed,
)

LOG = getLogger("nformer")
NO = torch.tensor(False)
MIN_ROWS_TO_COMPARE = 100  # fewer do not show how widely similarities spread
MAX_SPREAD = 1.8  # times training's; three persons' many images alone make 1.4


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
    """

    centre: Centring = "none"
    shrinkage: float = 1.0
    between: float = 0.0
    neighbours: int = 1
    per_camera: bool = False
    sharpness: float = 0.0
    layers: int = 1

    def __post_init__(self) -> None:
        if self.centre not in get_args(Centring):
            raise BadInput(
                f"closed form: centre {self.centre!r} is none of {', '.join(get_args(Centring))}"
            )
        if not 0 < self.shrinkage <= 1 or self.between < 0 or self.sharpness < 0:
            raise BadInput(
                "closed form: shrinkage must be in (0, 1], between and sharpness at least 0"
            )
        if self.neighbours < 1 or self.layers < 1:
            raise BadInput("closed form: neighbours and layers must be at least 1")

    @property
    def uses_cameras(self) -> bool:
        """Whether camera ids matter to it."""
        return self.centre == "camera" or (self.per_camera and self.neighbours > 1)

    @property
    def whitens(self) -> bool:
        """Whether rows are whitened or shaped."""
        return self.shrinkage < 1 or self.between > 0

    def groups(self, camids: Tensor) -> Tensor:
        """Return the groups [N] that the k nearest are taken of: the cameras, or all as one."""
        return camids if self.per_camera else torch.zeros_like(camids)

    def as_table(self) -> dict[str, Any]:
        """Return the settings as a JSON-able table."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SetMeans(Means):
    """What is subtracted from a set's rows, and whether the whitening is left out after it.

    plain: [] bool; a set that is unlike the training data is not whitened.
    """

    plain: Tensor = NO


class ClosedForm(nn.Module):
    """The closed form with what it learned of the training identities.

    mean:    [d], of the training rows.   cameras: [C] int64, sorted.   camera_means: [C, d].
    metric:  [d, d], multiplies centred rows from the right: whitening and shaping.
    images:  of a person, in the galleries that k was chosen for; 0: k fits every set.
    within, between: [BINS] similarities of pairs of the same and of different held-out persons.
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
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("cameras", torch.zeros(cameras, dtype=torch.int64))
        self.register_buffer("camera_means", torch.zeros(cameras, dim))
        self.register_buffer("metric", torch.eye(dim))
        self.register_buffer("within", torch.zeros(BINS))
        self.register_buffer("between", torch.zeros(BINS))
        self.register_buffer("images", torch.zeros(()))

    def means(self, rows: Tensor, camids: Tensor) -> SetMeans:
        """Return the means of unit rows [N, d] with cameras [N] int64, -1 where unknown."""
        training = Means(self.mean.double(), self.cameras, self.camera_means.double())
        found = fit_means(rows, camids, centring=self.settings.centre, training=training)
        return SetMeans(found.centre, found.cameras, found.means)

    def standardise(self, rows: Tensor, camids: Tensor, *, means: SetMeans) -> Tensor:
        """Centre, whiten and normalise: [N, d] -> [N, d] float32 unit rows.

        In float64, so that a row comes out the same alone and among others.
        """
        metric = None if means.plain else self.metric.double()
        found = torch.empty_like(rows, dtype=torch.float32)
        for part in row_blocks(len(rows), BLOCK_ROWS):
            centred = rows[part] - means.of(camids[part])
            whitened = centred if metric is None else centred @ metric
            found[part] = functional.normalize(whitened).float()
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

    def is_unlike_training(self, rows: Tensor) -> bool:
        """Return whether standardised rows spread much wider than those of training.

        What whitening learned of one kind costs accuracy on another.
        """
        if not float(self.images) or len(rows) < MIN_ROWS_TO_COMPARE:
            return False
        _, spread = as_spread(self.between.cpu(), pair_histogram(rows))
        if spread < MAX_SPREAD:
            return False
        LOG.warning(
            "similarities are spread %.1f times as wide here as among training identities: data of "
            "another kind, so the whitening learned there is left out", spread,
        )  # fmt: skip
        return True

    @torch.no_grad()
    def gallery(
        self, rows: Tensor, camids: Tensor, *, neighbours: int | None = None
    ) -> "ClosedFormGallery":
        """Refine a set and keep what a query that joins it needs: [G, d] unit rows, [G] int64."""
        settings, means = self.settings, self.means(rows, camids)
        states = self.standardise(rows, camids, means=means)
        k = self.fitting_neighbours(states) if neighbours is None else neighbours
        if self.is_unlike_training(states):
            means = replace(means, plain=~NO)
            states = self.standardise(rows, camids, means=means)
        hidden, graphs = [states], []
        for _ in range(settings.layers if k > 1 else 0):
            graphs.append(camera_graph(hidden[-1], groups=settings.groups(camids), k=k))
            hidden.append(read_gallery(hidden[-1], graphs[-1], sharpness=settings.sharpness))
        return ClosedFormGallery(rows, camids, means, tuple(hidden), tuple(graphs))

    @torch.no_grad()
    def query(
        self,
        gallery: "ClosedFormGallery",
        rows: Tensor,
        *,
        camids: Tensor,
        read: Callable[..., Tensor] = read_listed,
    ) -> Tensor:
        """Refine queries [Q, d] against a refined set, each as if it were the only one.

        read: does what `read_listed` does at each layer, and may record what it reads.
        """
        states = self.standardise(rows, camids, means=gallery.means)
        for items, graph in zip(gallery.hidden, gallery.graphs, strict=False):
            listed = query_edges(states, camids, rows=items, graph=graph)
            states = read(states, items, listed=listed, sharpness=self.settings.sharpness)
        return states


@dataclass(frozen=True, eq=False)
class ClosedFormGallery:
    """A set that a closed form has refined.

    rows:   [G, d] unit rows as they came, and camids [G] their cameras.
    means:  what was subtracted.
    hidden: [layers + 1] tensors [G, d]: before each layer and after the last.
    graphs: one for each layer.
    """

    rows: Tensor
    camids: Tensor
    means: SetMeans
    hidden: tuple[Tensor, ...]
    graphs: tuple[CameraGraph, ...]

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it by name, for a file."""
        found = {"rows": self.rows, "camids": self.camids}
        found |= {f"means/{name}": getattr(self.means, name) for name in MEANS}
        found |= {f"hidden/{number}": states for number, states in enumerate(self.hidden)}
        for number, graph in enumerate(self.graphs):
            found |= {f"graph/{number}/{name}": getattr(graph, name) for name in GRAPH}
            found[f"graph/{number}/neighbours"] = torch.tensor(graph.neighbours)
        return found

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> "ClosedFormGallery":
        """Return what `tensors` named."""
        layers = sum(name.startswith("hidden/") for name in tensors) - 1
        graphs = [
            CameraGraph(
                **{name: tensors[f"graph/{number}/{name}"] for name in GRAPH},
                neighbours=int(tensors[f"graph/{number}/neighbours"]),
            )
            for number in range(layers)
        ]
        return ClosedFormGallery(
            tensors["rows"],
            tensors["camids"],
            SetMeans(
                **{name: tensors[f"means/{name}"] for name in MEANS if name != "plain"},
                plain=tensors.get("means/plain", NO),
            ),
            tuple(tensors[f"hidden/{number}"] for number in range(layers + 1)),
            tuple(graphs),
        )


MEANS = ("centre", "cameras", "means", "plain")
GRAPH = ("lists", "kept", "reach", "groups", "cameras")


def camera_ids(camids: Any, rows: int, *, device: torch.device) -> Tensor:
    """Return camera ids as [N] int64 on a device, -1 everywhere where there are none."""
    if camids is None:
        return torch.full((rows,), -1, dtype=torch.int64, device=device)
    found = torch.as_tensor(camids).to(device, torch.int64)
    if found.shape != (rows,):
        raise BadInput(f"{rows} embeddings, but camera ids of the shape {list(found.shape)}")
    return found
