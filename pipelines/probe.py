"""Read a file once in a process of its own, which a damaged one may crash or hang."""

import signal
import subprocess
import sys
from pathlib import Path

from .errors import BadInput

SECONDS, BYTES_A_SECOND = 3, 20e6  # of processor time: a start, and so much a second
PROBES = {
    # HDF5 keeps text of varying length in heaps, whose damage its library may follow for ever.
    "h5": (
        "import h5py\n"
        "def look(name, item):\n"
        "    if isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype):\n"
        "        for start in range(0, len(item), 65536): item[start : start + 65536]\n"
        "with h5py.File(path, 'r') as file: file.visititems(look)\n"
    ),
    "mat": "from scipy.io import loadmat\nloadmat(path)\n",
}


def require_readable(path: Path, kind: str) -> None:
    """Raise BadInput where the library for a kind of file ("h5", "mat") crashes on it or hangs."""
    seconds = SECONDS + int(path.stat().st_size / BYTES_A_SECOND)
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))\n"
    code = f"{limit}import sys\npath = sys.argv[1]\n{PROBES[kind]}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
        raise BadInput(f"{path} is damaged: reading it does not end; make it again")
    if done.returncode < 0:
        raise BadInput(f"{path} is damaged: its reader crashes on it; make it again")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BadInput(f"{path} is no whole .{kind} file ({reason})")
