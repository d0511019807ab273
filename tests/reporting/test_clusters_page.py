"""clusters.html: doubtful identities first, bounded, escaped, without what others could load."""

import re

import numpy as np
from helpers.layouts import write_image

from pipelines.artifacts.cluster_files import Members
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


def written(path, found, folders=("",)):
    missing = write_clusters_page(
        path, found, folders=folders, lines=["a line"], csv="clusters.csv", command="nformer x"
    )
    return path.read_text(), missing


def test_doubtful_identities_come_first(tmp_path):
    found = members([0, 0, 1, 1, 2, 3], [0.9, 0.8, 0.7, -0.2, 0.5, 0.1])
    page, missing = written(tmp_path / "a.html", found)
    assert re.findall(r'<article id="i(\d)"', page) == ["1", "0"]
    assert "4 identities among 6 pictures" in page and missing == ""
    assert "-0.20 doubtful" in page and "nearer to 2" in page
    alone = page[page.index('id="alone"') :]
    assert re.findall(r"identity (\d), row", alone) == ["3", "2"]


def test_pictures_are_in_it_and_missing_ones_are_counted(tmp_path):
    write_image(tmp_path / "images/0.png", 3, (20, 40))
    found = members([0, 0, 1], [0.9, 0.8, 0.1])
    page, missing = written(tmp_path / "a.html", found, folders=[str(tmp_path / "images")])
    assert page.count("data:image/jpeg") >= 1
    assert missing == f"2 of 3 images are not below {tmp_path / 'images'}, such as 1.png"
    assert "://" not in page and "<script" not in page


def test_names_are_escaped(tmp_path):
    found = members([0, 0], [0.9, 0.8], names=["<b>&.png", "x.png"])
    assert "<b>" not in written(tmp_path / "a.html", found)[0]


def test_a_large_set_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters_page, "PICTURES", 40)
    monkeypatch.setattr(clusters_page, "ALONE", 10)
    monkeypatch.setattr(clusters_page, "EACH", 4)
    several = np.repeat(np.arange(30), 9)
    found = members([*several, *range(30, 60)], np.linspace(0.1, 1, 300))
    page, _ = written(tmp_path / "a.html", found)
    assert page.count("<article") == 6  # of four members, a medoid beside or among them, a nearest
    assert "24 more identities, all surer" in page and "20 more, all surer" in page
    assert "And 5 surer ones." in page
