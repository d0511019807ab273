"""The backbone's benchmark compares every way, each a number, in small."""

import pytest

from pipelines.benchmarks.backbone import measure


@pytest.mark.slow
def test_the_small_benchmark_measures_every_way():
    record = measure(quick=True)
    rates = {name: float(rate.replace(",", "")) for name, rate, _ in record.rows}
    assert list(rates) == [
        "bare network, fast precision",
        "bare network, batch norms folded",
        "bare network, plain float32",
        "extraction from files",
        "extraction from images.h5",
        "training: plain float32 loop",
        "training: this toolkit",
        "training: this toolkit, images.h5",
    ]
    assert all(rate > 0 for rate in rates.values())
    assert "Waiting for images took" in record.notes[1] and "hours here" in record.notes[1]
