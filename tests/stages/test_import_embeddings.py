"""import-embeddings: what goes in comes out, and what cannot be right is refused."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.io
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Run, export_embeddings, import_embeddings
from pipelines.artifacts.embeddings import load_embeddings, save_embeddings
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput, MissingArtifact, StaleArtifact

RANDOM = np.random.default_rng(6)


def arrays(dtype=np.float32, **changes):
    made = {}
    for split, rows, first in (("train", 6, 100), ("query", 3, 0), ("gallery", 5, 0)):
        made[f"{split}_features"] = RANDOM.normal(size=(rows, 4)).astype(dtype)
        made[f"{split}_pids"] = first + np.arange(rows) // 2
        made[f"{split}_camids"] = np.arange(rows) % 2
        made[f"{split}_names"] = np.array([f"{split}/{i}.jpg" for i in range(rows)])
    made.update(changes)
    return {key: value for key, value in made.items() if value is not None}


def saved(tmp_path, name="e.npz", **changes):
    np.savez(tmp_path / name, **arrays(**changes))
    return tmp_path / name


def test_import_writes_the_schema_that_later_stages_read(tmp_path, recorder):
    given = arrays()
    np.savez(tmp_path / "e.npz", **given)
    run = Run(tmp_path / "run")
    path = import_embeddings(
        run, [tmp_path / "e.npz"], dataset="mine", root=tmp_path, progress=recorder
    )
    assert path == run.artifact("embeddings.h5")
    for split in ("train", "query", "gallery"):
        read = load_embeddings(path, split)
        assert read.features.tobytes() == given[f"{split}_features"].tobytes()
        assert read.features.dtype == np.float32
        assert read.pids.tolist() == given[f"{split}_pids"].tolist()
        assert read.camids.tolist() == given[f"{split}_camids"].tolist()
        assert read.names == given[f"{split}_names"].tolist()
    manifest = run.manifest("embeddings.h5")
    assert manifest.stage == "import-embeddings"
    assert list(manifest.inputs) == ["file 1: e.npz"]
    assert manifest.facts == {
        "dataset": "mine",
        "root": str(tmp_path),
        "dim": 4,
        "rules": "market1501",
        "source_dtype": "float32",
        "counts": {"train": 6, "query": 3, "gallery": 5},
        "dropped": {"train": 0, "query": 0, "gallery": 0},
        "identities": {"train": 3, "query": 2, "gallery": 3},
        "cameras": {"train": 2, "query": 2, "gallery": 2},
    }
    assert recorder.messages == [
        "train: 6 × 4 float32, 3 identities, 2 cameras",
        "query: 3 × 4 float32, 2 identities, 2 cameras",
        "gallery: 5 × 4 float32, 3 identities, 2 cameras",
    ]
    assert recorder.warnings == []
    assert recorder.counted["import gallery"] == 5


def test_again_is_up_to_date_and_another_file_is_refused(tmp_path, recorder):
    run, first = Run(tmp_path / "run"), saved(tmp_path)
    import_embeddings(run, [first])
    import_embeddings(run, [first], progress=recorder)
    assert recorder.messages == [f"{run.path('embeddings.h5')} is up to date"]
    second = saved(tmp_path, "other.npz")
    with pytest.raises(StaleArtifact, match=r"e\.npz is not given now; .* Add --overwrite"):
        import_embeddings(run, [second])
    import_embeddings(run, [second], overwrite=True)
    query = load_embeddings(run.artifact("embeddings.h5"), "query")
    assert query.features.tolist() == np.load(second)["query_features"].tolist()
    with pytest.raises(BadInput, match=r"is this run's own embeddings.h5; choose another --run"):
        import_embeddings(run, [run.path("embeddings.h5")])


def test_a_damaged_import_names_the_command_that_remakes_it(tmp_path):
    run = Run(tmp_path / "run")
    path = import_embeddings(run, saved(tmp_path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"remake it with: nformer import-embeddings FILE --run"):
        run.artifact("embeddings.h5")


def test_without_names_and_cameras(tmp_path, recorder):
    nameless = dict.fromkeys([f"{s}_{w}" for s in ("train", "query", "gallery")
                              for w in ("names", "camids")])  # fmt: skip
    run = Run(tmp_path / "run")
    path = import_embeddings(run, saved(tmp_path, **nameless), progress=recorder)
    gallery = load_embeddings(path, "gallery")
    assert gallery.names[:2] == ["gallery/0000000", "gallery/0000001"]
    assert gallery.camids.tolist() == [-1] * 5
    assert not gallery.has_cameras
    assert recorder.messages[2] == (
        "gallery: 5 × 4 float32, 3 identities, no camera ids: the same-camera rule is off, "
        "no names: numbered"
    )


def test_parts_in_several_files(tmp_path, recorder):
    one = {"query_features": np.ones((1, 2)), "query_pids": [1]}
    two = {"query_features": np.full((2, 2), 2.0), "query_pids": [-1, 2], "query_camids": [3, 4]}
    np.savez(tmp_path / "1.npz", **one)
    np.savez(tmp_path / "2.npz", **two)
    files = [tmp_path / "1.npz", tmp_path / "2.npz"]
    path = import_embeddings(Run(tmp_path / "run"), files, progress=recorder)
    query = load_embeddings(path, "query")
    assert query.features.tolist() == [[1, 1], [2, 2], [2, 2]]
    assert query.pids.tolist() == [1, -1, 2]
    assert query.camids.tolist() == [-1, 3, 4]
    assert query.names == ["query/0000000", "query/0000001", "query/0000002"]
    assert "1 rows of nobody (negative pid, kept)" in recorder.messages[0]


def bad(rows, value):
    features = RANDOM.normal(size=(5, 4))
    features[rows] = value
    return {"gallery_features": features}


@pytest.mark.parametrize(
    "changes, text",
    [
        (
            bad([1, 3], np.nan),
            r"split gallery: of 5 rows 2 hold NaN, infinite or too large values \(rows 1, 3\); "
            "leave them out with --drop-bad, or look at the network that made them",
        ),
        (bad([0], -np.inf), r"1 hold NaN, infinite or too large values \(rows 0\)"),
        (bad([0], 1e300), r"1 hold NaN, infinite or too large values \(rows 0\)"),
        (bad([4], 0), r"of 5 rows 1 are all zero and have no direction \(rows 4\); leave"),
        (
            {"gallery_names": np.array(["a", "query/1.jpg", "b", "query/0.jpg", "c"])},
            r"2 names stand in query and in gallery \(query/0.jpg, query/1.jpg\): a query must "
            "not find itself; take them out of one, or put their folder before them",
        ),
        ({"gallery_names": np.array(["a", "b", "", "d", "e"])}, r"gallery: row 2 has no name"),
        (
            {"gallery_features": np.ones((5, 3))},
            "the embeddings differ in width: e.npz train 4, e.npz query 4, e.npz gallery 3; those",
        ),
    ],
)
def test_refusals_leave_nothing_behind(tmp_path, changes, text):
    run = Run(tmp_path / "run")
    with pytest.raises(BadInput, match=text):
        import_embeddings(run, saved(tmp_path, **changes))
    assert not run.path("embeddings.h5").exists()


def test_the_same_file_twice(tmp_path):
    path = saved(tmp_path)
    with pytest.raises(BadInput, match=r"the same content is given twice: .*give each file once"):
        import_embeddings(Run(tmp_path / "run"), [path, path])
    with pytest.raises(BadInput, match="no file given"):
        import_embeddings(Run(tmp_path / "run"), [])


def test_drop_bad_counts_and_drops(tmp_path, recorder):
    features = RANDOM.normal(size=(5, 4)).astype(np.float32)
    features[1], features[2, 3] = 0, np.nan
    run = Run(tmp_path / "run")
    path = import_embeddings(
        run, saved(tmp_path, gallery_features=features), drop_bad=True, progress=recorder
    )
    gallery = load_embeddings(path, "gallery")
    assert gallery.names == ["gallery/0.jpg", "gallery/3.jpg", "gallery/4.jpg"]
    assert gallery.pids.tolist() == [0, 1, 2]
    assert gallery.camids.tolist() == [0, 1, 0]
    assert gallery.features.tolist() == features[[0, 3, 4]].tolist()
    assert run.facts("embeddings.h5")["dropped"] == {"train": 0, "query": 0, "gallery": 2}
    assert recorder.warnings == [
        "gallery: dropped 1 hold NaN, infinite or too large values (rows 2) and 1 are all zero "
        "and have no direction (rows 1)"
    ]
    nothing = saved(tmp_path, "n.npz", query_features=np.zeros((3, 4)))
    with pytest.raises(BadInput, match=r"split query: of 3 rows 3 are all zero .* none is left"):
        import_embeddings(run, nothing, drop_bad=True, overwrite=True)
    assert load_embeddings(path, "gallery").names == gallery.names  # the earlier file stands


def test_shared_identities_and_repeated_names_are_said(tmp_path, recorder):
    names = np.array(["a", "b", "a", "d", "e"])
    path = saved(tmp_path, train_pids=np.array([0, 0, 1, 1, 9, 9]), gallery_names=names)
    import_embeddings(Run(tmp_path / "run"), path, progress=recorder)
    assert recorder.warnings == [
        "gallery: 1 names stand more than once (a)",
        "2 training identities are in query or gallery too (0, 1). If they are the same people, "
        "results will be better than on new people. If train is numbered separately, ignore this",
    ]


FORMATS = ["npz", "npy", "parquet", "mat"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_import_export_import_gives_the_same_bytes(tmp_path, kind, dtype):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    given = arrays(dtype)
    np.savez(tmp_path / "e.npz", **given)
    run, again = Run(tmp_path / "run"), Run(tmp_path / "again")
    import_embeddings(run, tmp_path / "e.npz")
    path = export_embeddings(run, tmp_path / f"out.{kind}")
    files = [path, path.with_suffix(".csv")] if kind == "npy" else [path]
    import_embeddings(again, files)
    for split in ("train", "query", "gallery"):
        read = load_embeddings(again.artifact("embeddings.h5"), split)
        assert read.features.tobytes() == given[f"{split}_features"].astype(np.float32).tobytes()
        assert read.pids.tolist() == given[f"{split}_pids"].tolist()
        assert read.camids.tolist() == given[f"{split}_camids"].tolist()
        assert read.names == given[f"{split}_names"].tolist()


def test_exported_npz_holds_the_imported_bytes(tmp_path):
    for dtype in (np.float16, np.float32, np.float64):
        given = arrays(dtype, query_camids=None, gallery_camids=None, train_camids=None)
        np.savez(tmp_path / "e.npz", **given)
        run = Run(tmp_path / f"run{np.dtype(dtype).itemsize}")
        import_embeddings(run, tmp_path / "e.npz")
        found = np.load(export_embeddings(run, tmp_path / "out.npz", overwrite=True))
        assert sorted(found) == sorted(given)  # no cameras went in, none come out
        for key, value in given.items():
            assert found[key].dtype == value.dtype
            assert found[key].tobytes() == value.tobytes()


def test_exported_mat_has_the_fields_other_scripts_read(tmp_path):
    run = Run(tmp_path / "run")
    given = arrays()
    np.savez(tmp_path / "e.npz", **given)
    import_embeddings(run, tmp_path / "e.npz")
    mat = scipy.io.loadmat(export_embeddings(run, tmp_path / "out.mat", splits=["gallery"]))
    assert mat["gallery_f"].tobytes() == given["gallery_features"].tobytes()
    assert mat["gallery_label"].tolist() == [given["gallery_pids"].tolist()]
    assert mat["gallery_cam"].tolist() == [given["gallery_camids"].tolist()]
    assert "query_f" not in mat


def test_export_of_refined_embeddings_and_its_refusals(tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(MissingArtifact, match=r"embeddings.h5 is not there, nor is its folder"):
        export_embeddings(run, tmp_path / "o.npz")
    import_embeddings(run, saved(tmp_path))
    for options, text in (
        ({"stage": "middle"}, "--stage middle: not known; wanted raw, refined"),
        ({"dtype": "int8"}, "--dtype int8: not known; wanted auto, float16, float32, float64"),
        ({"splits": ["test"]}, "--split test: not known; wanted train, query, gallery"),
    ):
        with pytest.raises(BadInput, match=text):
            export_embeddings(run, tmp_path / "o.npz", **options)
    with pytest.raises(BadInput, match=r"\.txt is no kind of file that is written; wanted npz"):
        export_embeddings(run, tmp_path / "o.txt")
    export_embeddings(run, tmp_path / "o.npy")
    (tmp_path / "o.npy").unlink()
    with pytest.raises(BadInput, match=r"o\.csv is there already; add --overwrite to replace it"):
        export_embeddings(run, tmp_path / "o.npy")
    with pytest.raises(MissingArtifact, match=r"refined.h5 is not there; make it with: nformer ev"):
        export_embeddings(run, tmp_path / "o.npz", stage="refined")
    manifest = run.manifest("embeddings.h5")
    item = Embeddings(np.eye(2), [1, 2], [0, 1], ["a", "b"])
    wanted = type(manifest)("refined.h5", "evaluate", {}, {"embeddings.h5": manifest.sha256})
    with run.writing(wanted) as (temporary, _):
        save_embeddings(temporary, query=item)
    found = np.load(export_embeddings(run, tmp_path / "r.npz", stage="refined", dtype="float64"))
    assert found["query_features"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert found["query_features"].dtype == np.float64


def test_a_mat_of_two_gibibytes_is_refused(tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    import_embeddings(run, saved(tmp_path))
    monkeypatch.setattr("pipelines.artifacts.formats.writing.MAT_BYTES", 90)
    with pytest.raises(BadInput, match=r"train takes 0.0 GiB and a .mat holds less than 2; write"):
        export_embeddings(run, tmp_path / "o.mat")
    assert not (tmp_path / "o.mat").exists()


IMPORT_AND_MEASURE = """
import resource, sys
from pipelines import Run, import_embeddings
import h5py, scipy  # what an import may load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
import_embeddings(Run(sys.argv[1]), sys.argv[2:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_file_is_never_held_whole(tmp_path):
    """200 MB of features are imported with less than half of them in memory."""
    shape = (100_000, 512)
    with open(tmp_path / "e.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        for _ in range(10):
            file.write(np.ones((10_000, 512), np.float32).tobytes())
    lines = "".join(f"{row},{row % 9},gallery\n" for row in range(shape[0]))
    (tmp_path / "e.csv").write_text("path,pid,split\n" + lines)
    arguments = [str(tmp_path / name) for name in ("run", "e.npy", "e.csv")]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_AND_MEASURE, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout) / 1024
    assert grown < 120, f"grew by {grown:.0f} MiB for 195 MiB of features"


def test_command_line(tmp_path, monkeypatch):
    runner = CliRunner()
    run = ["--run", str(tmp_path / "run")]
    done = runner.invoke(app, ["import-embeddings", str(saved(tmp_path)), *run])
    assert done.exit_code == 0, done.output
    assert "gallery" in done.output and "identities" in done.output
    assert "next: nformer train-nformer" in done.output.replace("\n", " ")
    target = tmp_path / "o.npz"
    done = runner.invoke(app, ["export-embeddings", str(target), "--split", "query", *run])
    assert done.exit_code == 0, done.output
    assert sorted(np.load(target)) == [
        "query_camids",
        "query_features",
        "query_names",
        "query_pids",
    ]
    with pytest.raises(BadInput, match="is no kind of file"):
        runner.invoke(app, ["export-embeddings", "o.x", *run], catch_exceptions=False)


def test_an_exported_faiss_index_finds_rows_by_the_lines_of_its_table(tmp_path):
    faiss = pytest.importorskip("faiss", exc_type=(ImportError, RuntimeError))
    run, given = Run(tmp_path / "run"), arrays()
    np.savez(tmp_path / "e.npz", **given)
    import_embeddings(run, tmp_path / "e.npz")
    path = export_embeddings(run, tmp_path / "o.index", format="faiss", splits=["gallery"])
    index = faiss.read_index(str(path))
    lines = path.with_suffix(".csv").read_text().splitlines()[1:]
    rows = given["gallery_features"] / np.linalg.norm(
        given["gallery_features"], axis=1, keepdims=True
    )
    similarity, ids = index.search(given["query_features"], 2)
    expected = given["query_features"] @ rows.T
    assert ids.tolist() == np.argsort(-expected, axis=1)[:, :2].tolist()
    np.testing.assert_allclose(similarity[:, 0], expected.max(axis=1), rtol=1e-5)
    assert lines[ids[0, 0]].startswith(given["gallery_names"][ids[0, 0]])
    np.testing.assert_allclose(index.reconstruct(3), rows[3], atol=1e-6)
    with pytest.raises(BadInput, match="--format annoy is no kind of file that is written"):
        export_embeddings(run, tmp_path / "o.npz", format="annoy")
