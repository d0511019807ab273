"""clusters.html: doubtful identities first, bounded, escaped, without what others could load."""

import base64
import hashlib
import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers.layouts import write_image

from pipelines.artifacts.cluster_files import Members
from pipelines.flow import command_line
from pipelines.reporting import clusters_page
from pipelines.reporting.clusters_page import write_clusters_page


def members(identity, confidence, names=None) -> Members:
    identity = np.array(identity)
    medoid = np.zeros(len(identity), bool)
    medoid[np.unique(identity, return_index=True)[1]] = True
    nearest = (identity + 1) % (identity.max() + 1)
    return Members(
        names or [f"{row}.png" for row in range(len(identity))],
        identity,
        np.array(confidence, np.float32),
        nearest,
        np.full(len(identity), 0.5, np.float32),
        medoid,
        np.zeros(len(identity), bool),
    )


COMMAND = command_line("cluster", "--edited", "runs/market/clusters.csv", run="runs/market")


def written(path, found, folders=("",)):
    missing = write_clusters_page(
        path, found, folders=folders, lines=["a line"], csv="clusters.csv", command=COMMAND
    )
    return path.read_text(), missing


def test_doubtful_identities_come_first(tmp_path):
    found = members([0, 0, 1, 1, 2, 3], [0.9, 0.8, 0.7, -0.2, 0.5, 0.1])
    page, missing = written(tmp_path / "a.html", found)
    assert re.findall(r'<article id="i(\d)"', page) == ["1", "0"]
    assert "4</span> identities among 6 pictures" in page and missing == ""
    assert "-0.20 doubtful" in page and "nearer to 2" in page
    alone = page[page.index('id="alone"') :]
    assert re.findall(r"identity (\d), row", alone) == ["3", "2"]


def test_page_and_manual_read_a_table_back_by_the_same_commands(tmp_path):
    """One where the browser saves it, the other where it lies in the run."""
    page, _ = written(tmp_path / "a.html", members([0, 0, 1], [0.9, 0.8, 0.1]))
    manual = (Path(__file__).parents[2] / "nformer_cli/manual/clusters.md").read_text()
    for table in ("~/Downloads/clusters.csv", "runs/market/clusters.csv"):
        on_page = f"nformer cluster --edited {table} --run runs/market"  # as messages have it
        assert f"<code>{on_page}</code>" in page
        assert f"\n    nformer cluster --run runs/market --edited {table}\n" in manual


def test_pictures_are_in_it_and_missing_ones_are_counted(tmp_path):
    write_image(tmp_path / "images/0.png", 3, (20, 40))
    found = members([0, 0, 1], [0.9, 0.8, 0.1])
    page, missing = written(tmp_path / "a.html", found, folders=[str(tmp_path / "images")])
    assert page.count("data:image/jpeg") >= 1
    assert missing == f"2 of 3 images are not below {tmp_path / 'images'}, such as 1.png"
    assert "://" not in page and " src=" not in page.replace(' src="data:', "")


def test_pictures_are_told_by_the_last_parts_of_their_paths(tmp_path):
    names = [f"may/{folder}/0.png" for folder in ("door", "stairs", "hall")]
    for name in names[:2]:
        write_image(tmp_path / name, 3, (20, 40))
    page, _ = written(tmp_path / "a.html", members([0, 0, 1], [0.9, 0.8, 0.1], names), [tmp_path])
    places = re.findall(r'<span class="place">(.*?)</span>', page)
    assert places == ["stairs/<wbr>0.png", "door/<wbr>0.png"]


def test_names_are_escaped(tmp_path):
    found = members([0, 0], [0.9, 0.8], names=["<b>&.png", "</script><i>.png"])
    page, _ = written(tmp_path / "a.html", found)
    assert "<b>" not in page and "</script><i>" not in page


def test_only_its_own_script_may_run(tmp_path):
    page, _ = written(tmp_path / "a.html", members([0, 0], [0.9, 0.8]))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = html.unescape(re.search(r'Security-Policy" content="([^"]*)"', page)[1])
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert " onclick=" not in page


def test_given_names_are_shown_and_their_anchors_are_numbers(tmp_path):
    found = replace(members([0, 0, 1, 1, 2], [0.9, 0.8, 0.7, -0.2, 0.5]), called={2: "Anna & Co"})
    page, _ = written(tmp_path / "a.html", found)
    assert '<a href="#i2">Anna &amp; Co</a>' in page and "nearer to Anna &amp; Co" in page
    assert "identity Anna &amp; Co, row 4" in page and 'id="i2"' in page


def test_a_large_set_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters_page, "PICTURES", 40)
    monkeypatch.setattr(clusters_page, "ALONE", 10)
    monkeypatch.setattr(clusters_page, "EACH", 4)
    several = np.repeat(np.arange(30), 9)
    found = members([*several, *range(30, 60)], np.linspace(0.1, 1, 300))
    page, _ = written(tmp_path / "a.html", found)
    # Each of four members, a medoid beside or among them, and a nearest one.
    assert page.count('<article id="') == 6
    assert "24 more identities, all surer" in page and "20 more, all surer" in page
    assert "And 5 that are not shown." in page
