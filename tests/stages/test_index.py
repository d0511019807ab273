"""The index: incremental equals anew, a crash leaves the old one, two writers lose nothing."""

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from helpers.gallery_runs import GALLERY, part_of_gallery, people, run_with
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Run, import_embeddings, train_nformer
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.nformer import save_nformer
from pipelines.config import NFormerConfig
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput, MissingArtifact, StaleArtifact
from pipelines.gallery.index import build_index, extended, reduced
from pipelines.gallery.index_file import open_index
from pipelines.nformer.on_closed_form import NFormerOnClosedForm
from pipelines.refiners.closed_form import ClosedForm
from pipelines.stages.change_index import add_to_index, remove_from_index
from pipelines.stages.index import _tell_of_training, index_gallery
from pipelines.stages.info import info
from pipelines.stages.search_images import search_images


@pytest.fixture
def run(tmp_path):
    return run_with(tmp_path, GALLERY)


def anew(tmp_path, rows):
    """An index built at once on some rows of the gallery."""
    folder = tmp_path / f"anew{len(rows)}"
    folder.mkdir()
    run = run_with(folder, part_of_gallery(rows))
    index_gallery(run)
    return run


def require_same_index(ours, theirs):
    ours, theirs = (
        open_index(ours.path("index.h5")),
        open_index(theirs.path("index.h5")),
    )
    assert list(ours.names) == list(theirs.names)
    assert ours.pids.tolist() == theirs.pids.tolist()
    assert ours.camids.tolist() == theirs.camids.tolist()
    np.testing.assert_allclose(ours.rows, theirs.rows, atol=2e-6)
    assert ours.state.graph.lists.tolist() == theirs.state.graph.lists.tolist()
    assert ours.state.graph.kept.tolist() == theirs.state.graph.kept.tolist()
    for here, there in zip(ours.state.hidden, theirs.state.hidden, strict=True):
        np.testing.assert_allclose(here, there, atol=2e-6)


def test_incremental_equals_anew(tmp_path):
    run = run_with(tmp_path, part_of_gallery(np.arange(60)))
    index_gallery(run)
    np.savez(tmp_path / "more.npz", **part_of_gallery(np.arange(60, 120)))
    assert add_to_index(run, [tmp_path / "more.npz"]) == 60
    require_same_index(run, anew(tmp_path, np.arange(120)))
    assert remove_from_index(run, "gallery/050[0-2]_*") == 18
    require_same_index(run, anew(tmp_path, np.arange(18, 120)))
    facts = run.facts("index.h5")
    assert (facts["added"], facts["removed"]) == (60, 18)


def test_what_train_nformer_makes_by_default_is_incremental_too():
    """A closed form subtracts the means of the gallery, which every item moves."""
    closed_form = ClosedForm(
        dim=16, centre="camera", shrinkage=0.6, neighbours=4, per_camera=True, layers=2
    )
    model = NFormerOnClosedForm.joined(closed_form, None, share=0)
    items = embeddings_of(GALLERY, "gallery")
    first, rest = (items.select(np.isin(np.arange(120) // 60, half)) for half in (0, 1))
    whole = build_index(items, model)
    added = extended(build_index(first, model), rest)
    np.testing.assert_allclose(added.rows, whole.rows, atol=2e-6)
    assert not np.allclose(added.rows[:60], build_index(first, model).rows, atol=1e-3)
    reduced_again = reduced(added, np.arange(120) < 60)
    np.testing.assert_allclose(reduced_again.rows, build_index(rest, model).rows, atol=2e-6)


def embeddings_of(arrays, split):
    fields = ("features", "pids", "camids", "names")
    return Embeddings(*(arrays[f"{split}_{field}"] for field in fields))


def test_without_a_model_the_embeddings_are_searched(tmp_path, recorder):
    run = run_with(tmp_path, part_of_gallery(np.arange(60)), train=False)
    index_gallery(run, progress=recorder)
    assert recorder.warnings[0].startswith("no nformer.pt in this run: the index searches the emb")
    assert recorder.warnings[1].startswith(
        "no threshold is calibrated: 0 training identities, and at least 16 are needed"
    )
    np.savez(tmp_path / "more.npz", **part_of_gallery(np.arange(60, 120)))
    add_to_index(run, [tmp_path / "more.npz"])
    remove_from_index(run, "*/0500_*")
    index = open_index(run.path("index.h5"))
    assert index.state is None
    rows = GALLERY["gallery_features"][6:]
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(index.rows, expected, atol=1e-6)
    found = search_images(run, [tmp_path / "e.npz"], top=3)
    assert not found.refined
    asking = people(500, 10, 1, 2, "query")["query_features"]
    asking /= np.linalg.norm(asking, axis=1, keepdims=True)
    cosines = asking @ expected.T
    for answer, row in zip(found.answers, cosines, strict=True):
        nearest = np.argsort(-row)[:3]
        assert [hit.name for hit in answer.hits] == GALLERY["gallery_names"][6:][nearest].tolist()
        assert [hit.pid for hit in answer.hits] == GALLERY["gallery_pids"][6:][nearest].tolist()
        assert [hit.similarity for hit in answer.hits] == pytest.approx(row[nearest], abs=1e-6)
    assert [answer.hits[0].pid for answer in found.answers[1:]] == list(range(501, 510))
    assert found.answers[0].hits[0].pid != 500  # that person's items were removed


def named_rows(names, cameras, seed):
    random = np.random.default_rng(seed)
    count = len(names)
    return {
        "gallery_features": random.normal(size=(count, 8)).astype(np.float32),
        "gallery_pids": np.array(names),
        "gallery_camids": np.array(cameras),
        "gallery_names": np.array([f"{seed}/{row}.jpg" for row in range(count)]),
    }


def test_an_index_made_before_the_nformer_is_said_to_be_unrefined(tmp_path, recorder):
    run = run_with(tmp_path, {**GALLERY, **people(0, 32, 6, 1, "train")}, train=False)
    index_gallery(run)
    asked = [tmp_path / "e.npz"]
    search_images(run, asked, progress=recorder)
    assert recorder.warnings == []
    train_nformer(run, config=NFormerConfig(steps=0))
    search_images(run, asked, progress=recorder)
    told = (
        "made before nformer.pt, so it is not refined; refine it with: "
        f"nformer index --overwrite --run {tmp_path}"
    )
    assert f"was {told}" in recorder.warnings[0]
    notes = {row.name: row.note for row in info(run)}
    assert told in notes["index.h5"]
    index_gallery(run, overwrite=True)
    notes = {row.name: row.note for row in info(run)}
    assert "made before" not in notes["index.h5"]


def test_added_names_are_the_identities_that_the_index_calls_so(tmp_path):
    run, more = Run(tmp_path / "run"), tmp_path / "more.npz"
    np.savez(tmp_path / "all.npz", **named_rows(["bob", "eve"], ["door", "hall"], 0))
    import_embeddings(run, tmp_path / "all.npz")
    index_gallery(run)
    np.savez(more, **named_rows(["anna", "eve", "7"], ["yard", "door", "hall"], 1))
    add_to_index(run, [more])
    np.save(tmp_path / "one.npy", np.ones((1, 8), np.float32))
    add_to_index(run, [tmp_path / "one.npy"], pid="anna", camid="gate")
    index = open_index(run.path("index.h5"))
    called = [index.labels.person(int(pid)) for pid in index.pids]
    assert called == ["bob", "eve", "anna", "eve", "7", "anna"]
    places = [index.labels.camera(int(camid)) for camid in index.camids]
    assert places == ["door", "hall", "yard", "door", "hall", "gate"]
    found = search_images(run, [tmp_path / "one.npy"]).answers[0]
    hits = found.hits
    assert (hits[0].identity, hits[0].camera) == ("anna", "gate")
    assert search_images(run, [tmp_path / "one.npy"], camid="hall").answers[0].hits == found.hits
    with pytest.raises(BadInput, match="camera '1' is not in the gallery; its cameras are door, h"):
        search_images(run, [tmp_path / "one.npy"], camid=1)


def test_names_do_not_join_identities_that_are_numbers(tmp_path):
    run = run_with(tmp_path, part_of_gallery(np.arange(60)), train=False)
    index_gallery(run)
    np.savez(tmp_path / "more.npz", **named_rows(["anna"], ["1"], 1))
    for given in ({"pid": "anna"}, {"camid": "door"}):
        np.save(tmp_path / "one.npy", np.ones((1, 16), np.float32))
        with pytest.raises(BadInput, match="there are numbers, such as .* is a name"):
            add_to_index(run, [tmp_path / "one.npy"], **given)
    assert add_to_index(run, [tmp_path / "one.npy"], pid="0700", camid=2) == 1
    index = open_index(run.path("index.h5"))
    assert (index.pids[-1], index.camids[-1]) == (700, 2)
    with pytest.raises(BadInput, match=r"--pid is '1\.5'; a whole number or a name is wanted"):
        add_to_index(run, [tmp_path / "one.npy"], pid="1.5")


def test_up_to_date_stale_and_missing(tmp_path, run, recorder):
    with pytest.raises(
        MissingArtifact, match=r"index.h5 is not there; make it with: nformer index"
    ):
        search_images(run, [tmp_path / "e.npz"])
    index_gallery(run)
    index_gallery(run, progress=recorder)
    assert recorder.messages == [f"{run.path('index.h5')} is up to date"]
    np.savez(tmp_path / "one.npz", **people(700, 1, 1, 5, "gallery"))
    add_to_index(run, [tmp_path / "one.npz"])
    index_gallery(run, progress=recorder)
    assert recorder.messages[-1].endswith(
        "is up to date; items added since it was built: 1, removed: 0"
    )
    with pytest.raises(StaleArtifact, match=r"seed was 0, now 1. Add --overwrite to replace"):
        index_gallery(run, seed=1)
    config = NFormerConfig(closed_form=False, steps=1, layers=1, neighbours=5, batch=128)
    train_nformer(run, config=config, device="cpu", overwrite=True)
    with pytest.raises(StaleArtifact, match=r"index.h5 was made from another nformer.pt than the"):
        search_images(run, [tmp_path / "e.npz"])
    with pytest.raises(StaleArtifact, match=r"was made otherwise: nformer.pt has changed"):
        index_gallery(run)
    index_gallery(run, overwrite=True)
    assert len(search_images(run, [tmp_path / "e.npz"]).answers) == 10


def test_evaluate_saves_the_index_too(run):
    asked = ["evaluate", "--index", "--no-report", "--run", str(run.folder)]
    done = CliRunner().invoke(app, [*asked, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "index.h5; next: nformer search QUERY.npz" in done.stderr.replace("\n", "")
    assert len(open_index(run.path("index.h5"))) == 120
    assert set(run.manifest("index.h5").inputs) == {"embeddings.h5", "nformer.pt"}


def test_evaluate_indexes_with_its_own_seed_and_the_model_that_it_took_over(tmp_path, run):
    (tmp_path / "other").mkdir()
    other = run_with(tmp_path / "other", part_of_gallery(np.arange(60)), train=False)
    asked = ["evaluate", "--index", "--no-report", "--run", str(other.folder), "--seed", "3"]
    asked += ["--model", str(run.path("nformer.pt")), "--device", "cpu"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    manifest = other.manifest("index.h5")
    assert manifest.config == {"seed": 3, "assume": "auto"}
    assert manifest.inputs["nformer.pt"] == other.digest("nformer.pt")
    assert index_gallery(other, seed=3)  # up to date: the same index


def test_evaluate_refines_the_gallery_once_for_table_report_and_index(tmp_path, monkeypatch):
    run = run_with(tmp_path, GALLERY)
    closed_form = ClosedForm(dim=16, centre="camera", neighbours=4, per_camera=True)
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    with run.writing(Manifest("nformer.pt", "train-nformer", {}, inputs)) as (path, _):
        save_nformer(path, NFormerOnClosedForm.joined(closed_form, None, share=0))
    content = index_gallery(run).read_bytes()
    refined, plain = [], ClosedForm.gallery

    def counted(self, rows, *given, **named):
        refined.append(len(rows))
        return plain(self, rows, *given, **named)

    monkeypatch.setattr(ClosedForm, "gallery", counted)
    asked = ["evaluate", "--index", "--overwrite", "--run", str(run.folder), "--device", "cpu"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert refined == [120]
    assert run.artifact("index.h5").read_bytes() == content


def test_an_index_of_the_old_kind_is_refused(tmp_path, run):
    path = index_gallery(run)
    run.manifest_path("index.h5").unlink()
    remake = r"has no manifest: it was written by another version .* --overwrite"
    for use in (search_images, add_to_index):
        with pytest.raises(BadInput, match=remake):
            use(run, [tmp_path / "e.npz"])
    with pytest.raises(BadInput, match=remake):
        index_gallery(run)
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 1
        file.attrs["meta"] = "{}"
    with pytest.raises(BadInput, match="another version of nformer; remake it with: nformer inde"):
        open_index(path)
    index_gallery(run, overwrite=True)
    assert search_images(run, [tmp_path / "e.npz"], top=1).gallery == 120


def test_info_and_a_search_find_a_flipped_bit(tmp_path, run):
    path = index_gallery(run)
    row = next(row for row in info(run) if row.name == "index.h5")
    assert (row.state, row.command, row.note) == ("whole", "index", "")
    assert set(row.inputs) == {"embeddings.h5", "nformer.pt"}
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match="index.h5 is damaged or replaced: its content is not"):
        search_images(run, [tmp_path / "e.npz"], top=1)
    damaged = next(row for row in info(Run(run.folder)) if row.name == "index.h5")
    assert damaged.state == "damaged" and "nformer index --run" in damaged.note
    with pytest.raises(BadInput, match="damaged or replaced: its content is not what its manif"):
        remove_from_index(Run(run.folder), "*/0500_*")


def test_a_model_of_another_run(tmp_path, run):
    folder = tmp_path / "other"
    folder.mkdir()
    other = run_with(folder, part_of_gallery(np.arange(60)), train=False)
    index_gallery(other, model=run.path("nformer.pt"))
    assert open_index(other.path("index.h5")).state is not None
    assert search_images(other, [folder / "e.npz"]).refined


def test_refusals(tmp_path, run):
    index_gallery(run)
    np.savez(tmp_path / "again.npz", **part_of_gallery(np.arange(2)))
    with pytest.raises(
        BadInput, match=r"in the index already, or given twice: 2 of the names \(gall"
    ):
        add_to_index(run, [tmp_path / "again.npz"])
    with pytest.raises(
        BadInput, match=r"no name in .* matches 'x\*'; names look like gallery/0500"
    ):
        remove_from_index(run, "x*")
    with pytest.raises(BadInput, match="all 120 items would be removed; an index needs one"):
        remove_from_index(run, "*")
    np.savez(tmp_path / "wide.npz", gallery_features=np.ones((1, 3)), gallery_pids=[1])
    with pytest.raises(
        BadInput, match=r"the new embeddings are 3 wide, those in .*index.h5 16; on"
    ):
        add_to_index(run, [tmp_path / "wide.npz"])
    with pytest.raises(BadInput, match=r"holds train, query; a gallery split, or just one, is"):
        np.savez(tmp_path / "two.npz", **people(0, 1, 1, 1, "train"), **people(0, 1, 1, 1, "query"))
        add_to_index(run, [tmp_path / "two.npz"])
    with pytest.raises(BadInput, match=r"none.jpg is not there; a picture, a folder or a file"):
        add_to_index(run, [tmp_path / "none.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"empty holds no pictures; wanted \.jpg"):
        add_to_index(run, [tmp_path / "empty"])
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"were imported: their network is not here. Give embedd"):
        add_to_index(run, [tmp_path / "a.jpg"])


def test_a_cut_or_foreign_index_is_refused(tmp_path, run):
    path = index_gallery(run)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match=r"is cut or replaced: .*remake it with: nformer index --ru"):
        search_images(run, [tmp_path / "e.npz"])
    with pytest.raises(BadInput, match=r"is not a whole HDF5 file .*remake it with: nformer index"):
        open_index(path)
    path.write_bytes(run.path("embeddings.h5").read_bytes())
    with pytest.raises(BadInput, match="is not an index of ours; remake it with: nformer index --"):
        open_index(path)
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        del file["model/bottleneck.weight"]
    with pytest.raises(BadInput, match=r"was written by another version of nformer; remake it wit"):
        open_index(path)
    assert index_gallery(run, overwrite=True) == path
    assert path.read_bytes() == content


ADD = """
import sys
from pipelines import Run
from pipelines.stages.change_index import add_to_index
print("begin", flush=True)
add_to_index(Run(sys.argv[1]), [sys.argv[2]])
"""


def adding(run, path):
    return subprocess.Popen(
        [sys.executable, "-c", ADD, str(run.folder), str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_adding_at_once_lose_nothing(tmp_path, run):
    index_gallery(run)
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.npz")
        np.savez(files[-1], **people(700 + 10 * number, 5, 2, number, "gallery"))
    processes = [adding(run, path) for path in files]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    names = set(open_index(run.path("index.h5")).names)
    for path in files:
        assert set(np.load(path)["gallery_names"].tolist()) <= names
    assert len(names) == 140


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05])
def test_killed_while_adding_the_old_index_stays(tmp_path, run, delay):
    path = index_gallery(run)
    before = path.read_bytes()
    np.savez(tmp_path / "more.npz", **people(700, 50, 4, 5, "gallery"))
    process = adding(run, tmp_path / "more.npz")
    process.stdout.readline()
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert path.read_bytes() == before or len(open_index(path)) == 320
    if path.read_bytes() == before:
        add_to_index(run, [tmp_path / "more.npz"])
    assert len(open_index(path)) == 320
    assert not list(path.parent.glob(".index.h5.*.tmp"))


def test_killed_while_writing_the_old_index_stays(tmp_path, run, monkeypatch):
    """The worst moment: all but the last step is done."""
    path = index_gallery(run)
    before = path.read_bytes()
    np.savez(tmp_path / "more.npz", **people(700, 5, 4, 5, "gallery"))

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.files.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        add_to_index(run, [tmp_path / "more.npz"])
    assert path.read_bytes() == before


def test_the_arrays_are_mapped_not_read(run):
    index = open_index(index_gallery(run))
    assert not index.pids.flags.owndata
    for tensor in (index.rows, *index.state.hidden, index.state.graph.lists):
        assert tensor.numpy().base is not None  # a view of the mapping
    assert index.names[-1] == GALLERY["gallery_names"][-1]
    with pytest.raises(IndexError):
        index.names[120]


def test_a_camera_where_the_gallery_knows_none_is_to_be_left_out(tmp_path):
    rows = dict(part_of_gallery(np.arange(60)))
    rows["gallery_camids"] = np.full(60, -1)
    run = run_with(tmp_path, rows, train=False)
    index_gallery(run)
    np.save(tmp_path / "one.npy", np.ones((1, rows["gallery_features"].shape[1]), np.float32))
    with pytest.raises(BadInput, match="no cameras are known in this gallery, .* --camid out"):
        search_images(run, [tmp_path / "one.npy"], camid=1)
    assert search_images(run, [tmp_path / "one.npy"]).answers


@pytest.mark.parametrize(
    "folders, common", [(("in/shots", "in/shots/b"), "in/shots"), (("a", "b"), "")]
)
def test_the_other_run_is_offered_the_folder_that_all_pictures_share(
    tmp_path, recorder, monkeypatch, folders, common
):
    run = Run(tmp_path)
    monkeypatch.setattr(Run, "manifest", lambda run, name: name)
    train, gallery = (
        Embeddings(np.eye(2), np.array([pid, pid]), np.zeros(2, int), names)
        for pid, names in enumerate(
            ([f"{folders[0]}/1.jpg#xywh=0,0,1,1"] * 2, [f"{folders[1]}/2.jpg"] * 2)
        )
    )
    _tell_of_training(run, train, gallery=gallery, root="/data", progress=recorder)
    told = f"/data/{common}" if common else "/data"
    assert f"nformer index --pictures {told} --weights" in recorder.messages[-1]
