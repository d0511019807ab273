"""Read a file once in a process of its own, which a damaged one may crash or hang."""

import subprocess
import sys
from pathlib import Path

from ...errors import BadInput

SECONDS, BYTES_A_SECOND = 6.0, 20e6  # what reading may take: a start, and so much a second
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
    code = f"import sys\npath = sys.argv[1]\n{PROBES[kind]}"
    limit = SECONDS + path.stat().st_size / BYTES_A_SECOND
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"{path} is damaged: reading it does not end; make it again") from None
    if done.returncode < 0:
        raise BadInput(f"{path} is damaged: its reader crashes on it; make it again")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BadInput(f"{path} is no whole .{kind} file ({reason})")
