"""The demo's data set: drawn people under drawn cameras, in Market-1501's layout, no download."""

from .dataset import write_synthetic

__all__ = ["write_synthetic"]
