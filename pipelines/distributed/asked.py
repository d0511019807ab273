"""What `--cluster` is asked for, looked at before PyTorch or Ray is loaded."""

import socket
from importlib.util import find_spec

from ..errors import BadInput

LOCAL = "local:"
PROTOCOLS = ("isolated", "joint")
PATIENCE = 10  # seconds
SEARCHES = ("auto", "exact", "numpy", "ivf")


def require_cluster(asked: str) -> None:
    """Raise BadInput where `--cluster` names none, or Ray is not installed."""
    host, _, number = asked.rpartition(":")
    if not (host and number.isascii() and number.isdigit() and int(number)):
        raise BadInput(
            f"--cluster {asked}: local:NUMBER starts so many workers on this machine, HOST:PORT "
            "joins a Ray cluster that runs"
        )
    if find_spec("ray") is None:
        raise BadInput("--cluster needs Ray: python -m pip install 'nformer[cluster]'")


def require_reachable(address: str) -> None:
    """Raise BadInput where nothing listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"--cluster {address}: nothing answers there ({error}); start a cluster with `ray "
            "start --head`, or use --cluster local:2"
        ) from error


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
