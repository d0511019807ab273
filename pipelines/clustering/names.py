"""The names of the ways to cluster, and the packages that they need; loads nothing."""

from importlib.util import find_spec

from ..errors import BadInput

METHODS = {
    "agglomerative": "average linkage over the neighbour graph",
    "components": "connected components of mutual neighbours",
    "hdbscan": "HDBSCAN over the neighbour graph's distances (scikit-learn)",
    "leiden": "Leiden communities of mutual neighbours (igraph)",
    "infomap": "Infomap communities of mutual neighbours (igraph)",
}
PLAIN, REFINED = "plain", "refined"  # which embeddings are clustered
NEEDS = {"hdbscan": "sklearn", "leiden": "igraph", "infomap": "igraph"}
EXTRAS = {"sklearn": "clusters", "igraph": "communities"}


def require_method(name: str) -> None:
    """Raise BadInput for a method that does not exist, or whose package is not installed."""
    if name not in METHODS:
        raise BadInput(f"--method {name}: unknown; known are {', '.join(METHODS)}")
    package = NEEDS.get(name)
    if package is not None and find_spec(package) is None:
        raise BadInput(
            f"--method {name} needs its package: python -m pip install "
            f"'nformer[{EXTRAS[package]}]'; or use agglomerative"
        )
