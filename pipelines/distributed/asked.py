"""What `--cluster` is asked for, looked at before PyTorch or Ray is loaded."""

from importlib.util import find_spec

from ..errors import BadInput

LOCAL = "local:"
PROTOCOLS = ("isolated", "joint")
SEARCHES = ("auto", "exact", "numpy", "ivf")


def require_cluster(asked: str) -> None:
    """Raise BadInput where `--cluster` names none, or Ray is not installed."""
    number = asked.removeprefix(LOCAL)
    if asked.startswith(LOCAL) and not (number.isascii() and number.isdigit() and int(number)):
        raise BadInput(f"--cluster {asked}: local: and a number of workers is wanted, as local:2")
    if not asked.startswith(LOCAL) and ":" not in asked and asked != "auto":
        raise BadInput(
            f"--cluster {asked}: local:NUMBER starts a cluster on this machine, HOST:PORT or auto "
            "joins one that runs"
        )
    if find_spec("ray") is None:
        raise BadInput("--cluster needs Ray: python -m pip install 'nformer[cluster]'")


def require_done_in_parts(*, protocol: str, search: str, device: str) -> None:
    """Raise BadInput where something is asked for that workers do not do."""
    if protocol not in PROTOCOLS:
        raise BadInput(
            f"--cluster refines by the protocols {' and '.join(PROTOCOLS)}, not by {protocol}"
        )
    if search not in SEARCHES:
        raise BadInput(f"--cluster searches by {', '.join(SEARCHES)}, not by {search}")
    if device not in ("auto", "cpu"):
        raise BadInput(f"--cluster refines on the workers' CPUs, not on --device {device}")
