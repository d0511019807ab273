"""The work behind the `nformer` command, from images to mAP.

    dataset ─ train_backbone ─▶ backbone.pt ─ extract ─▶ embeddings.h5 ─ train_nformer ─▶ nformer.pt
            ─ evaluate: refine ─▶ refined.h5 ─ rank ─▶ ranking.h5 ─ score ─▶ metrics.json

Stages take a `Run` (a folder) and read what the stage before them wrote; everything below them
takes and returns arrays. The names here load on first use: importing `pipelines` is free.
"""

from typing import TYPE_CHECKING, Any

DISTRIBUTION = "nformer"
__version__ = "0.1.0"

_NAMES = {
    "artifacts.run": "Run",
    "stages.train_backbone": "train_backbone",
    "stages.extract": "extract",
    "stages.train_nformer": "train_nformer",
    "stages.evaluate": "evaluate",
    "stages.import_embeddings": "import_embeddings",
    "stages.export_embeddings": "export_embeddings",
    "training.neighbour_refiner": "NeighbourRefiner",
    "refiners.training_free": "refine_training_free",
    "stages.index": "index_gallery",
    "stages.change_index": "add_to_index remove_from_index",
    "stages.search_images": "search_images Searcher",
    "stages.cluster": "cluster",
    "reproduction.reproduce": "reproduce",
    "embeddings": "Embeddings",
    "artifacts.embeddings": "load_embeddings save_embeddings",
    "nformer.model": "NFormer",
    "nformer.released": "nformer_from_released",
    "artifacts.nformer": "load_nformer",
    "gallery.refinement": "refine refine_set",
    "neighbours.nearest": "search nearest_neighbours",
    "ranking.rerankers.k_reciprocal": "rerank_k_reciprocal",
    "ranking.metrics": "score Metrics",
    "ranking.rules": "RULES Rules",
    "errors": "PipelineError BadInput MissingArtifact StaleArtifact",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = ["DISTRIBUTION", "__version__", *_HOMES]

if TYPE_CHECKING:
    from .artifacts.embeddings import load_embeddings, save_embeddings
    from .artifacts.nformer import load_nformer
    from .artifacts.run import Run
    from .embeddings import Embeddings
    from .errors import BadInput, MissingArtifact, PipelineError, StaleArtifact
    from .gallery.refinement import refine, refine_set
    from .neighbours.nearest import nearest_neighbours, search
    from .nformer.model import NFormer
    from .nformer.released import nformer_from_released
    from .ranking.metrics import Metrics, score
    from .ranking.rerankers.k_reciprocal import rerank_k_reciprocal
    from .ranking.rules import RULES, Rules
    from .refiners.training_free import refine_training_free
    from .reproduction.reproduce import reproduce
    from .stages.change_index import add_to_index, remove_from_index
    from .stages.cluster import cluster
    from .stages.evaluate import evaluate
    from .stages.export_embeddings import export_embeddings
    from .stages.extract import extract
    from .stages.import_embeddings import import_embeddings
    from .stages.index import index_gallery
    from .stages.search_images import Searcher, search_images
    from .stages.train_backbone import train_backbone
    from .stages.train_nformer import train_nformer
    from .training.neighbour_refiner import NeighbourRefiner


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
