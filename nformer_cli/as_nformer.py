"""`import nformer`: the public names of `pipelines`; `python -m nformer`: the command.

The wheel ships this file as `nformer.py`, so that the tree's top level stays as it is.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Return a public name of `pipelines`, loaded on first use (PEP 562)."""
    import pipelines

    if name.startswith("_") and name not in ("__version__", "__all__"):
        raise AttributeError(f"module 'nformer' has no attribute {name!r}")
    return getattr(pipelines, name)


def __dir__() -> list[str]:
    import pipelines

    return sorted(pipelines.__all__)


if __name__ == "__main__":
    from nformer_cli.main import main

    main()
