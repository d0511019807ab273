"""Networks that others published: their checkpoints' names, preprocessing and features."""

from . import abdnet, clipreid, fastreid, solider, strong_baseline, torchreid, transreid, wildlife
from .entry import Published

PUBLISHED: dict[str, Published] = {
    **torchreid.NETWORKS,
    **fastreid.NETWORKS,
    **strong_baseline.NETWORKS,
    **transreid.NETWORKS,
    **clipreid.NETWORKS,
    **solider.NETWORKS,
    **abdnet.NETWORKS,
    **wildlife.NETWORKS,
}


def published(arch: str) -> Published | None:
    """Return what is known of a network by its name, or None."""
    return PUBLISHED.get(arch)
