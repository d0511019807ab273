"""Networks that others published: their checkpoints' names, preprocessing and features."""

from . import fastreid, strong_baseline, torchreid
from .entry import Published

PUBLISHED: dict[str, Published] = {
    **torchreid.NETWORKS,
    **fastreid.NETWORKS,
    **strong_baseline.NETWORKS,
}


def published(arch: str) -> Published | None:
    """Return what is known of a network by its name, or None."""
    return PUBLISHED.get(arch)
