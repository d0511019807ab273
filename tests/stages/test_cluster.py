"""nformer cluster: from runs, indexes and files to clusters.csv and its page, and back."""

import csv
import json

import numpy as np
import pytest
import torch
from helpers.commands import nformer, refused
from helpers.gallery_runs import people, run_with
from helpers.layouts import write_image
from torchvision.models import shufflenet_v2_x0_5

from pipelines import BadInput, Run
from pipelines.stages import cluster as stage
from pipelines.stages.cluster import Asked, cluster
from pipelines.stages.info import info


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def file(tmp_path):
    """Eight people of six rows, well apart, without a word on who they are."""
    content = people(500, 8, 6, 3, "gallery")
    path = tmp_path / "found.npz"
    names = np.array([f"gallery/{500 + row // 6:04d}_{row % 6}.jpg" for row in range(48)])
    np.savez(path, gallery_features=content["gallery_features"], gallery_names=names)
    return path


def groups(path):
    """Return the names of each identity, as sets."""
    found: dict[str, set[str]] = {}
    for line in lines(path):
        found.setdefault(line["identity"], set()).add(line["name"])
    return sorted(map(sorted, found.values()))


def test_a_file_is_clustered_beside_it(file):
    done = nformer(f"cluster {file} --json")
    assert done.code == 0, done.err
    told, table = json.loads(done.out), lines(file.parent / "clusters.csv")
    assert (told["rows"], told["identities"], told["agreement"]) == (48, 8, None)
    assert (told["chosen_by"], told["embeddings"]) == ("separation", "plain")
    assert len({line["name"][8:12] + line["identity"] for line in table}) == 8
    assert [line["representative"] for line in table].count("yes") == 8
    assert all(float(line["confidence"]) > 0 and line["nearest"] for line in table)
    assert sum(one["rows"] for one in told["clusters"]) == 48
    page = (file.parent / "clusters.html").read_text()
    assert "8</span> identities among 48 pictures" in page and "://" not in page
    said = nformer(f"cluster {file} --no-page").err
    assert "is up to date" in said


def test_a_run_calibrates_on_its_training_identities_and_leaves_junk_out_of_figures(tmp_path):
    gallery = people(500, 10, 6, 3, "gallery")
    gallery["gallery_pids"][:6] = -1
    run = Run(tmp_path / "run")
    content = {**people(500, 10, 1, 2, "query"), **gallery, **people(0, 32, 6, 1, "train")}
    np.savez(tmp_path / "e.npz", **content)
    assert nformer(f"import-embeddings {tmp_path / 'e.npz'} --run {run.folder}").code == 0
    found = cluster(run, device="cpu")
    assert (found.chosen.by, found.embeddings) == ("held-out identities", "plain")
    assert found.agreement.ari > 0.95 and found.agreement.rows == 64
    (row,) = [one for one in info(run) if one.name == "clusters.csv"]
    assert row.state == "whole" and f"{found.identities} identities of 70 rows" in row.note
    given = cluster(run, asked=Asked(threshold=0.999), device="cpu")
    assert given.chosen.by == "given" and given.identities > 60


def test_an_index_is_clustered(tmp_path):
    run = run_with(tmp_path, people(500, 8, 6, 3, "gallery"), train=False)
    assert nformer(f"index --run {run.folder}").code == 0
    done = nformer(f"cluster --index {run.path('index.h5')} --out {tmp_path / 'there'} --json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["agreement"]["ari"] == 1
    assert (tmp_path / "there/clusters.csv.json").exists()
    for name in ("embeddings.h5", "embeddings.h5.json"):  # as after: nformer index --pictures
        run.path(name).unlink()
    done = nformer(f"cluster --run {run.folder} --no-page")
    assert done.code == 0, done.err
    assert f"cluster --index {run.path('index.h5')} --out {run.folder} --edited" in done.err


@pytest.mark.parametrize("method", ["agglomerative", "components", "hdbscan", "leiden", "infomap"])
def test_every_method_finds_people_and_keeps_to_what_it_is_told(file, method):
    if method in ("leiden", "infomap"):
        pytest.importorskip("igraph", reason="igraph is not installed")
    folder = file.parent
    (folder / "must.csv").write_text("gallery/0500_0.jpg,gallery/0501_0.jpg\n")
    (folder / "cannot.csv").write_text("gallery/0502_0.jpg,gallery/0502_1.jpg\n")
    done = nformer(
        f"cluster {file} --method {method} --no-page --json --must-link {folder / 'must.csv'} "
        f"--cannot-link {folder / 'cannot.csv'}"
    )
    assert done.code == 0, done.err
    who = {line["name"]: line["identity"] for line in lines(folder / "clusters.csv")}
    assert who["gallery/0500_0.jpg"] == who["gallery/0501_0.jpg"]
    assert who["gallery/0502_0.jpg"] != who["gallery/0502_1.jpg"]
    assert len({who[f"gallery/0505_{row}.jpg"] for row in range(6)}) == 1


def test_an_edited_table_is_obeyed_and_so_is_the_next(file):
    nformer(f"cluster {file} --no-page")
    path = file.parent / "clusters.csv"
    table = lines(path)
    merged = {line["identity"] for line in table if "/0501_" in line["name"]}
    for line in table:  # 0500 and 0501 are one; a picture of 0503 is somebody else
        if line["identity"] in merged:
            line["identity"] = table[0]["identity"]
        if line["name"] == "gallery/0503_2.jpg":
            line["identity"] = "somebody"
    rewrite(path, table)
    assert "was changed since it was written" in refused(f"cluster {file} --no-page")
    done = nformer(f"cluster {file} --edited {path}")
    assert done.code == 0, done.err
    first = groups(path)
    assert ["gallery/0503_2.jpg"] in first and len(first) == 8
    assert sum(line["confirmed"] == "yes" for line in lines(path)) == 18
    assert "decided by hand: 3 identities of 18 rows, 1 of them named" in done.err
    table = lines(path)
    for line in table:  # and now one of 0504 as well
        if line["name"] == "gallery/0504_0.jpg":
            line["identity"] = "new"
    rewrite(path, table)
    assert nformer(f"cluster {file} --edited {path} --no-page").code == 0
    second = groups(path)
    assert ["gallery/0503_2.jpg"] in second and ["gallery/0504_0.jpg"] in second
    assert max(map(len, second)) == 12 and len(second) == 9


def test_a_given_name_stays_and_holds_who_has_it(file):
    nformer(f"cluster {file} --no-page")
    path = file.parent / "clusters.csv"
    table = lines(path)
    for line in table:
        if "/0502_" in line["name"]:
            line["identity"] = "Anna"
    rewrite(path, table)
    again = f"cluster {file} --no-page --json --edited {path}"
    for _ in range(2):  # the second reads what the first wrote
        done = nformer(again)
        assert done.code == 0, done.err
        (anna,) = [one for one in json.loads(done.out)["clusters"] if one["name"]]
        assert (anna["identity"], anna["name"], anna["rows"]) == (2, "Anna", 6)
        table = lines(path)
        assert {line["name"][8:12] for line in table if line["identity"] == "Anna"} == {"0502"}
        assert {line["cluster"] for line in table if line["identity"] == "Anna"} == {"2"}
        assert sum(line["confirmed"] == "yes" for line in table) == 6
    assert "is up to date" in nformer(f"cluster {file} --edited {path}").err  # it is read again
    assert '<span class="who">Anna</span>: ' in (file.parent / "clusters.html").read_text()


def test_what_was_decided_stays_until_it_is_to_be_forgotten(file, tmp_path):
    nformer(f"cluster {file} --no-page")
    path = file.parent / "clusters.csv"
    table = lines(path)
    for line in table:
        if "/0502_" in line["name"] or "/0503_" in line["name"]:
            line["identity"] = "Anna"
    away = tmp_path / "downloaded.csv"
    rewrite(away, table)
    assert nformer(f"cluster {file} --no-page --edited {away}").code == 0
    for more in ("", "--threshold 0.99", "--method components", "--method components"):
        done = nformer(f"cluster {file} --no-page {more}")
        assert "12 rows were decided by hand" in done.err and done.code == 0
        anna = [line["name"][8:12] for line in lines(path) if line["identity"] == "Anna"]
        assert sorted(anna) == ["0502"] * 6 + ["0503"] * 6
    assert "is up to date" in nformer(f"cluster {file} --no-page --method components").err
    assert nformer(f"cluster {file} --no-page --overwrite").code == 0
    assert not {"Anna"} & {line["identity"] for line in lines(path)} and len(groups(path)) == 8


def test_boxes_of_one_frame_are_different_people(tmp_path):
    content = people(500, 4, 6, 3, "gallery")
    names = [f"f{row % 6}.jpg#xywh={row},0,9,9" for row in range(24)]
    names[1] = "f0.jpg#xywh=1,0,9,9"  # of the same person as row 0
    np.savez(tmp_path / "a.npz", features=content["gallery_features"], names=np.array(names))
    assert nformer(f"cluster {tmp_path / 'a.npz'} --frames name --no-page").code == 0
    who = [line["identity"] for line in lines(tmp_path / "clusters.csv")]
    assert who[0] != who[1]
    assert "no such column; they have name" in refused(f"cluster {tmp_path / 'a.npz'} --frames x")


def test_what_cannot_be_done_is_a_line(file, tmp_path, monkeypatch):
    folder = file.parent
    assert "'best' is none of 'agglomerative'" in refused(f"cluster {file} --method best")
    assert "wanted auto, or a similarity" in refused(f"cluster {file} --threshold 3")
    assert "is not there; a file of embeddings" in refused(f"cluster {folder / 'none.npz'}")
    (folder / "text.npz").write_text("no")
    assert "is not what its name says" in refused(f"cluster {folder / 'text.npz'}")
    assert "embeddings.h5 is not there" in refused(f"cluster --run {tmp_path / 'empty'}")
    assert "wanted the index.h5 of a run" in refused(f"cluster --index {file}")
    (folder / "pairs.csv").write_text("0,1\n")
    pairs = folder / "pairs.csv"
    said = refused(f"cluster {file} --must-link {pairs} --cannot-link {pairs}")
    assert "must be one identity by one constraint" in said
    monkeypatch.setattr("pipelines.clustering.names.find_spec", lambda name: None)
    done = nformer(f"cluster {file} --method hdbscan --json")
    assert done.code == 2 and "pip install 'nformer[clusters]'" in json.loads(done.out)["error"]
    assert not (folder / "clusters.csv").exists()


def test_an_interruption_leaves_the_earlier_table_whole(file, monkeypatch):
    run = Run(file.parent)
    cluster(run, files=[file], device="cpu")
    before = run.path("clusters.csv").read_bytes()

    def cut(path, members):
        path.write_text("row,na")
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "write_members", cut)
    with pytest.raises(KeyboardInterrupt):
        cluster(run, files=[file], asked=Asked(threshold=0.1), device="cpu")
    assert run.path("clusters.csv").read_bytes() == before
    assert run.artifact("clusters.csv") and not list(run.folder.glob(".*.tmp"))


def test_one_row_is_too_few(tmp_path):
    np.savez(tmp_path / "one.npz", features=np.ones((1, 4), np.float32))
    with pytest.raises(BadInput, match="1 rows; at least two are needed"):
        cluster(Run(tmp_path), files=[tmp_path / "one.npz"])


def test_a_wildlife_table_comes_to_a_result_and_to_clusters_in_three_commands(tmp_path):
    home, weights, run = tmp_path / "lynx", tmp_path / "weights.pth", tmp_path / "run"
    rows = ["identity,path,split"]
    for animal in range(9):
        for number in range(4):
            write_image(home / f"{animal}_{number}.png", 10 * animal, (20, 12))
            rows.append(f"lynx{animal},{animal}_{number}.png,{['database', 'query'][number > 2]}")
    (home / "metadata.csv").write_text("\n".join(rows) + "\n")
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    network = f"--arch shufflenet_v2_x0_5 --weights {weights} --set height=32 --set width=32"
    for command in (
        f"extract {network} --dataset wildlife --root {home} --run {run} --device cpu",
        f"evaluate --all --run {run}",
        f"cluster --run {run}",
    ):
        done = nformer(command)
        assert done.code == 0, done.err
    found = lines(run / "clusters.csv")
    assert len(found) == 36
    assert {line["identity"] for line in found if line["name"].startswith("3_")} == {
        next(line["identity"] for line in found if line["name"] == "3_0.png")
    }
    assert "data:image/jpeg" in (run / "clusters.html").read_text()
