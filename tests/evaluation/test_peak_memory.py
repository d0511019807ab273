"""Peak memory: what is added since a moment, not what was held before it."""

import json
import subprocess
import sys

import pytest

from pipelines.evaluation.peak_memory import RESET

ADDING = """
import json
import numpy as np
from pipelines.evaluation.peak_memory import PeakMemory
held = np.ones(16 << 20)  # 128 MiB
memory = PeakMemory()
memory.restart()
before = memory.added_mib()
more = np.ones(32 << 20)  # 256 MiB, given back before it is asked
del more
print(json.dumps([before, memory.added_mib(), memory.mib(), held[0]]))
"""


@pytest.mark.skipif(not RESET.exists(), reason="this system does not tell a peak since a moment")
def test_only_what_is_added_since_a_moment_counts():
    done = subprocess.run([sys.executable, "-c", ADDING], capture_output=True, check=True)
    before, after, peak, _ = json.loads(done.stdout)
    assert before < 32 and 240 < after < 300
    assert peak > 380
