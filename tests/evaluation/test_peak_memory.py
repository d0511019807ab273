"""Peak memory: what is added since a moment, not what was held before it."""

import numpy as np
import pytest

from pipelines.evaluation.peak_memory import RESET, PeakMemory


@pytest.mark.skipif(not RESET.exists(), reason="this system does not tell a peak since a moment")
def test_only_what_is_added_since_a_moment_counts():
    held = np.ones(16 << 20)  # 128 MiB
    memory = PeakMemory()
    memory.restart()
    assert memory.added_mib() < 32
    more = np.ones(8 << 20)  # 64 MiB, given back before it is asked
    del more
    assert 60 < memory.added_mib() < 100
    assert memory.mib() > 128 and held[0] == 1
