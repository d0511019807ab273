"""The campaigns for CI, in a process of its own: forks of one that has computed would hang."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    path = tmp_path_factory.mktemp("reliability") / "counts.json"
    command = [sys.executable, "-m", "tests.reliability", "--ci", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert path.exists(), done.stderr[-2000:]
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("campaign", "least"),
    [("kills", 120), ("disks", 180), ("writers", 110), ("vanishing", 30), ("damage", 500)],
)
def test_a_campaign_holds(counts, campaign, least):
    found = counts[campaign]
    assert found["failed"] == []
    assert found["tried"] >= least


@pytest.mark.slow
def test_the_disks_were_full(counts):
    if counts["disks"]["skipped"]:
        pytest.skip(counts["disks"]["skipped"])
