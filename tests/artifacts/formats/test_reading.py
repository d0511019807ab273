"""Each format gives back the same two queries and three gallery items, or says why not."""

import csv
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from pipelines.artifacts.embeddings import save_embeddings
from pipelines.artifacts.formats.reading import read_embedding_files
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput

QUERY = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
GALLERY = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 9]], np.float32)
PIDS = {"query": [7, 8], "gallery": [7, -1, 8]}
CAMIDS = {"query": [0, 0], "gallery": [1, 1, 2]}
NAMES = {"query": ["q/é.jpg", "q/2.jpg"], "gallery": ["g/1.jpg", "g/2.jpg", "g/3.jpg"]}
FEATURES = {"query": QUERY, "gallery": GALLERY}


def arrays(dtype="float32", **changes):
    made = {}
    for split, features in FEATURES.items():
        made[f"{split}_features"] = features.astype(dtype)
        made[f"{split}_pids"] = np.array(PIDS[split])
        made[f"{split}_camids"] = np.array(CAMIDS[split])
        made[f"{split}_names"] = np.array(NAMES[split])
    made.update(changes)
    return {key: value for key, value in made.items() if value is not None}


def read(*files, warn=None):
    return read_embedding_files(list(files), warn or (lambda text: pytest.fail(text)))


def require_same(found, *, names=True, cameras=True):
    assert list(found) == ["query", "gallery"]
    for split, (part,) in found.items():
        assert np.concatenate(list(part.blocks())).tolist() == FEATURES[split].tolist()
        assert part.pids.tolist() == PIDS[split]
        assert part.pids.dtype == np.int64
        assert (part.camids.tolist() if cameras else part.camids) == (
            CAMIDS[split] if cameras else None
        )
        assert (list(part.names()) if names else part.names) == (NAMES[split] if names else None)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_npz(tmp_path, save, dtype):
    save(tmp_path / "e.npz", **arrays(dtype))
    require_same(read(tmp_path / "e.npz"))


def test_npz_stored_column_after_column(tmp_path):
    np.savez(tmp_path / "e.npz", **arrays(query_features=np.asfortranarray(QUERY)))
    require_same(read(tmp_path / "e.npz"))


def test_npz_in_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.artifacts.formats.split.BLOCK_BYTES", 20)
    np.savez_compressed(tmp_path / "e.npz", **arrays())
    found = read(tmp_path / "e.npz")
    assert [len(block) for block in found["gallery"][0].blocks()] == [1, 1, 1]
    require_same(found)


def test_pt_flat_and_nested(tmp_path):
    flat = {
        key: value.tolist() if key.endswith("names") else torch.from_numpy(value)
        for key, value in arrays().items()
    }
    torch.save(flat, tmp_path / "flat.pt")
    require_same(read(tmp_path / "flat.pt"))
    nested = {
        split: {key.removeprefix(f"{split}_"): flat[key] for key in flat if key.startswith(split)}
        for split in FEATURES
    }
    nested["query"]["features"] = nested["query"]["features"].bfloat16()  # these numbers are exact
    torch.save(nested, tmp_path / "nested.pth")
    require_same(read(tmp_path / "nested.pth"))


def test_our_own_file(tmp_path):
    splits = {
        split: Embeddings(FEATURES[split], PIDS[split], CAMIDS[split], NAMES[split])
        for split in FEATURES
    }
    require_same(read(save_embeddings(tmp_path / "e.h5", **splits)))


def table(path, *, cameras=True, rows=None):
    lines = [["path", "pid", "camid", "split"]]
    for split in ("gallery", "query"):
        for line in zip(NAMES[split], PIDS[split], CAMIDS[split], strict=True):
            lines.append([*map(str, line), split])
    with path.open("w", newline="", encoding="utf-8") as file:
        for line in lines if rows is None else [lines[0], *rows]:
            csv.writer(file).writerow(line if cameras else [*line[:2], line[3]])
    return path


def test_our_own_file_with_a_part_missing(tmp_path):
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.attrs.update(schema=1, dim=2)
        file["query/features"] = np.eye(2)
    with pytest.raises(BadInput, match=r"has query but no query_pids; it is needed"):
        read(tmp_path / "e.h5")


def test_npy_and_csv(tmp_path):
    np.save(tmp_path / "e.npy", np.concatenate([GALLERY, QUERY]))
    require_same(read(tmp_path / "e.npy", table(tmp_path / "labels.csv")))
    require_same(read(table(tmp_path / "e.csv", cameras=False), tmp_path / "e.npy"), cameras=False)


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    features = np.concatenate([GALLERY, QUERY])
    columns = {
        "path": NAMES["gallery"] + NAMES["query"],
        "pid": PIDS["gallery"] + PIDS["query"],
        "split": ["gallery"] * 3 + ["query"] * 2,
        "camid": CAMIDS["gallery"] + CAMIDS["query"],
        "vector": features.tolist(),
    }
    parquet.write_table(pa.table(columns), tmp_path / "e.parquet", row_group_size=2)
    require_same(read(tmp_path / "e.parquet"))
    for changed, said in (
        ({"split": ["gallery"] * 4 + ["x"]}, "split is 'x'; wanted train, query, gallery"),
        ({"pid": [1, 2, 3, None, 4]}, "row 3: pid is None; a whole number or a name is wanted"),
        ({"camid": [1, 2, 0.5, 3, 4]}, "camids must be whole numbers; row 2 is 0.5"),
    ):
        parquet.write_table(pa.table(columns | changed), tmp_path / "bad.parquet")
        with pytest.raises(BadInput, match=said):
            read(tmp_path / "bad.parquet")
    blind = columns | {"camid": [1, None, 2, 3, 4]}
    parquet.write_table(pa.table(blind), tmp_path / "blind.parquet")
    assert read(tmp_path / "blind.parquet")["gallery"][0].camids.tolist() == [1, -1, 2]
    columns["vector"] = [[1.0, 2, 3, 4], [5.0, 6, 7], *features[2:].tolist()]
    parquet.write_table(pa.table(columns), tmp_path / "ragged.parquet")
    with pytest.raises(BadInput, match=r"rows 0 to 4 of vector are not all 4 numbers"):
        list(read(tmp_path / "ragged.parquet")["gallery"][0].blocks())
    del columns["split"]
    parquet.write_table(pa.table(columns), tmp_path / "split.parquet")
    with pytest.raises(BadInput, match=r"no column split: its columns are path, pid, camid, vec"):
        read(tmp_path / "split.parquet")
    columns |= {"split": ["query"] * 5, "second": features.tolist()}
    parquet.write_table(pa.table(columns), tmp_path / "two.parquet")
    with pytest.raises(BadInput, match=r"has 2 list columns of floats \(vector, second\); one is"):
        read(tmp_path / "two.parquet")


def test_parquet_without_pyarrow_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "e.parquet").write_bytes(b"PAR1....PAR1")
    with pytest.raises(BadInput, match="need pyarrow: install it with: python -m pip install pya"):
        read(tmp_path / "e.parquet")


def mat(**changes):
    made = {}
    for split, features in FEATURES.items():
        made[f"{split}_f"] = features
        made[f"{split}_label"] = np.array([PIDS[split]])
        made[f"{split}_cam"] = np.array([CAMIDS[split]])
    made.update(changes)
    return {key: value for key, value in made.items() if value is not None}


def test_mat_5(tmp_path):
    path = tmp_path / "result.mat"
    scipy.io.savemat(path, mat())
    require_same(read(path), names=False)
    scipy.io.savemat(path, mat(query_f=QUERY.T.copy(), gallery_cam=None, query_cam=None))
    said = []
    require_same(read(path, warn=said.append), names=False, cameras=False)
    assert said == [f"{path}, split query: the features are stored [d, N], (4, 2); they are turned"]
    names = {f"{split}_name": np.array(NAMES[split], object) for split in NAMES}
    scipy.io.savemat(path, mat(**names))
    require_same(read(path))


def test_mat_7_3_is_hdf5_with_reversed_shapes(tmp_path):
    path = tmp_path / "result.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in mat().items():
            file[key] = value.T
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b" ")
    with path.open("r+b") as file:
        file.write(head)
    require_same(read(path), names=False)


def test_a_square_mat_is_turned_as_the_other_split_is(tmp_path):
    square = np.arange(16, dtype=np.float32).reshape(4, 4)
    labels = {"gallery_label": np.array([[1, 2, 3, 4]]), "gallery_cam": np.array([[1, 1, 1, 1]])}
    path = tmp_path / "result.mat"
    for query, expected, said in (
        (QUERY, square, "each row is read as an item, as in the other splits"),
        (QUERY.T, square.T, "each column is read as an item, as in the other splits"),
        (None, square, "each row is read as an item, as such files have it"),
    ):
        given = mat(gallery_f=square, query_f=query, **labels)
        if query is None:
            given = {key: value for key, value in given.items() if "query" not in key}
        scipy.io.savemat(path, given)
        warnings = []
        gallery = read(path, warn=warnings.append)["gallery"][0]
        assert next(gallery.blocks()).tolist() == expected.tolist()
        assert warnings[-1].endswith(said)


def test_a_square_beside_splits_of_both_ways_is_refused(tmp_path):
    square = np.eye(4, dtype=np.float32)
    splits = {"query": QUERY, "gallery": GALLERY.T, "train": square}
    given = {f"{split}_features": rows for split, rows in splits.items()}
    given |= {f"{split}_pids": np.arange(len(PIDS.get(split, square))) for split in splits}
    np.savez(tmp_path / "e.npz", **given)
    with pytest.raises(BadInput, match="the other splits are stored in both ways; save all"):
        read(tmp_path / "e.npz", warn=lambda _: None)


def test_parts_of_a_split_follow_each_other(tmp_path):
    np.savez(tmp_path / "1.npz", query_features=QUERY, query_pids=[1, 2])
    np.savez(tmp_path / "2.npz", query_features=QUERY + 1, query_pids=[3, 4])
    parts = read(tmp_path / "2.npz", tmp_path / "1.npz")["query"]
    assert [part.pids.tolist() for part in parts] == [[3, 4], [1, 2]]


def test_unknown_keys_are_said(tmp_path, recorder):
    np.savez(tmp_path / "e.npz", **arrays(gallery_camid=np.array([1, 2, 3])))
    read(tmp_path / "e.npz", warn=recorder.warn)
    assert recorder.warnings == [f"{tmp_path / 'e.npz'}: ignored gallery_camid"]


def test_a_camera_that_is_nan_is_unknown(tmp_path):
    """pandas gives a column with gaps so."""
    np.savez(tmp_path / "e.npz", **arrays(gallery_camids=np.array([2.0, np.nan, 1.0])))
    assert read(tmp_path / "e.npz")["gallery"][0].camids.tolist() == [2, -1, 1]


REFUSED = {
    "labels": (
        {"query_pids": np.array([1, 2, 3])},
        "split query: 2 features but 3 pids: one for each is needed",
    ),
    "cameras": (
        {"gallery_camids": np.array([1])},
        "split gallery: 3 features but 1 camids: one for each is needed",
    ),
    "names": ({"query_names": np.array(["a"])}, "split query: 2 features but 1 names: one for"),
    "half labels": (
        {"query_pids": np.array([0.5, 1])},
        "split query: pids must be whole numbers; row 0 is 0.5",
    ),
    "no number": (
        {"query_pids": np.array([1, np.nan])},
        r"row 1 has no identity \(NaN\); -1 stands",
    ),
    "an empty label": ({"query_pids": np.array(["a", " "])}, "row 1 has no identity"),
    "text like a number": (
        {"query_pids": np.array(["a", "1e3"])},
        "an identity is '1e3'; a whole number or a name is wanted",
    ),
    "no pids": ({"query_pids": None}, r"has query but no query_pids; it is needed \(-1 where"),
    "no features": ({"query_features": None}, "has query but no query_features; it is needed"),
    "whole numbers": (
        {"query_features": QUERY.astype(np.int64)},
        "features are int64; float16, float32 or float64 is wanted",
    ),
    "complex": ({"query_features": QUERY.astype(complex)}, "features are complex128; float16"),
    "three axes": (
        {"query_features": QUERY[None]},
        r"must be \[N, d\]; these have the shape \(1, 2, 4\)",
    ),
    "empty": ({"query_features": QUERY[:0]}, "split query has no rows; leave the split out"),
    "narrow": (
        {"query_features": QUERY[:, :1]},
        r"features are 1 wide; 2 or more is wanted \(the shape is \(2, 1\)",
    ),
    "objects": (
        {"query_names": np.array(["a", None], object)},
        r"query_names holds Python objects, which are never read \(they could run code\); save",
    ),
    "single value": ({"query_pids": np.array(3)}, "query_pids is a single value; an array with"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_of_an_npz(tmp_path, case):
    changes, text = REFUSED[case]
    np.savez(tmp_path / "e.npz", **arrays(**changes))
    with pytest.raises(BadInput, match=text):
        read(tmp_path / "e.npz")


def test_nothing_known_in_the_file(tmp_path):
    np.savez(tmp_path / "e.npz", feats=QUERY)
    with pytest.raises(BadInput, match=r"has no embeddings: its keys are feats; wanted \{train,q"):
        read(tmp_path / "e.npz")
    scipy.io.savemat(tmp_path / "e.mat", {"x": QUERY})
    with pytest.raises(
        BadInput, match=r"has no embeddings: its variables are x; wanted .* query_f"
    ):
        read(tmp_path / "e.mat")


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    np.savez(tmp_path / "e.npz", **arrays())
    content = (tmp_path / "e.npz").read_bytes()
    for name, said in (("e.mat", "begins like a npz file"), ("e.h5", "begins like a npz file")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=f"{name} is not what its name says: .* but it {said}"):
            read(tmp_path / name)
    (tmp_path / "text.npz").write_text("path,pid\n")
    with pytest.raises(BadInput, match=r"text.npz is not what its name says: .* like a text file"):
        read(tmp_path / "text.npz")
    (tmp_path / "noise.npz").write_bytes(b"\0\1\2\3" * 9)
    with pytest.raises(BadInput, match=r"noise.npz is not what .* is of no kind that is read here"):
        read(tmp_path / "noise.npz")
    (tmp_path / "nothing.npz").write_bytes(b"")
    with pytest.raises(BadInput, match=r"nothing.npz is empty"):
        read(tmp_path / "nothing.npz")
    (tmp_path / "e.xyz").write_bytes(content)
    with pytest.raises(BadInput, match=r"\.xyz is no kind of file that is read; wanted \.npz, "):
        read(tmp_path / "e.xyz")
    with pytest.raises(BadInput, match=r"none\.npz is not there; a file of embeddings is wanted"):
        read(tmp_path / "none.npz")
    with pytest.raises(BadInput, match="no file given"):
        read()


@pytest.mark.parametrize("kind", ["npz", "npy", "mat", "pt", "h5"])
def test_a_truncated_file_is_refused(tmp_path, kind):
    path, files = tmp_path / f"e.{kind}", [tmp_path / f"e.{kind}"]
    rows = np.random.default_rng(0).normal(size=(5, 400)).astype(np.float32)
    if kind == "npz":
        np.savez(path, **arrays())
    elif kind == "npy":
        np.save(path, rows)
        files.append(table(tmp_path / "e.csv"))
    elif kind == "mat":
        scipy.io.savemat(path, mat(query_f=rows, query_label=[1] * 5, query_cam=[1] * 5))
    elif kind == "pt":
        torch.save({"query_features": torch.from_numpy(rows), "query_pids": [1] * 5}, path)
    else:
        save_embeddings(path, query=Embeddings(rows, np.arange(5), np.arange(5)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(BadInput, match=rf"e\.{kind}.*(truncated|whole|cannot be read)"):
        for part in read(*files)["query"]:
            list(part.blocks())


def test_damage_inside_a_packed_array_is_found(tmp_path):
    rows = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    np.savez_compressed(tmp_path / "e.npz", query_features=rows, query_pids=np.arange(50))
    content = bytearray((tmp_path / "e.npz").read_bytes())
    content[3000] ^= 255
    (tmp_path / "e.npz").write_bytes(content)
    with pytest.raises(BadInput, match=r"e\.npz is truncated or damaged \("):
        list(read(tmp_path / "e.npz")["query"][0].blocks())


def test_pt_with_objects_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code of the file was run",))

    with (tmp_path / "e.pt").open("wb") as file:
        pickle.dump({"query_features": Trap()}, file, protocol=2)
    with pytest.raises(BadInput, match=r"e\.pt cannot be read as embeddings: "):
        read(tmp_path / "e.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(BadInput, match=r"holds a list; a dictionary of tensors is wanted"):
        read(tmp_path / "list.pt")
    torch.save({"query_features": [1.0], "query_pids": [1]}, tmp_path / "plain.pt")
    with pytest.raises(BadInput, match=r"the features are a list; a dense tensor is wanted"):
        read(tmp_path / "plain.pt")
    sparse = {"query_features": torch.ones(1, 2).to_sparse(), "query_pids": [1]}
    torch.save(sparse, tmp_path / "sparse.pt")
    with pytest.raises(
        BadInput, match=r"features are a torch.sparse_coo; a dense tensor is wanted"
    ):
        read(tmp_path / "sparse.pt")
    for names in ([3], 5):
        named = {"query_features": torch.ones(1, 2), "query_pids": [1], "query_names": names}
        torch.save(named, tmp_path / "names.pt")
        with pytest.raises(BadInput, match=r"the names must be a list of text"):
            list(read(tmp_path / "names.pt")["query"][0].names())


def test_mat_refusals(tmp_path):
    path = tmp_path / "e.mat"
    for changes, text in (
        (
            {"query_label": None},
            "has query but no query_pids; it is needed .* Its variables are gallery_cam, ",
        ),
        ({"query_label": [[1, 2, 3]]}, "split query: 2 features but 3 pids: one for each"),
        ({"query_f": QUERY.astype(np.int16)}, "features are int16; float16, float32 or float64"),
        ({"query_cam": [[1, 2, 3]]}, "2 features but 3 camids"),
    ):
        scipy.io.savemat(path, mat(**changes))
        with pytest.raises(BadInput, match=text):
            read(path)
    scipy.io.savemat(path, mat(query_f=QUERY * 1j))
    with pytest.raises(BadInput, match="query_f is complex; real numbers are wanted"):
        list(read(path)["query"][0].blocks())


def test_csv_refusals(tmp_path):
    np.save(tmp_path / "e.npy", QUERY)
    path = tmp_path / "e.csv"
    for text, said in (
        ("path,pid\na,1\n", r"no column split: its first line is 'path,pid'; wanted path,pid"),
        ("path,pid,split\na,,query\n", "line 2: no pid"),
        ("path,pid,pid,split\na,1,2,query\n", "the column pid more than once"),
        ("path,pid,split\na,1,x\n", "line 2: split is 'x'; wanted train, query, gallery"),
        ("path,pid,split\na,1\n", "line 2: 2 fields; the header has 3"),
        ("path,pid,split\na,1,query\n", "has 2 rows but .*e.csv labels 1: one for each is needed"),
        ("path,pid,split\na,99999999999999999999,query\nb,1,query\n", "a whole number or a name"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=said):
            read(tmp_path / "e.npy", path)
    path.write_bytes("path,pid,split\né,1,query\n".encode("latin-1"))
    with pytest.raises(BadInput, match=r"e\.csv is not a CSV file in UTF-8"):
        read(tmp_path / "e.npy", path)
    with pytest.raises(BadInput, match=r"e\.npy has no labels: name its CSV after it, as in "):
        read(tmp_path / "e.npy")
    path.write_text("path,pid,split\na,1,query\n")
    with pytest.raises(
        BadInput, match=r"e\.csv has no embeddings: .* Or give them as e\.npy, with"
    ):
        read(path)


def test_csv_with_the_features_in_columns(tmp_path, recorder):
    """Columns in another order, text identities, a gap of the line, and a column to ignore."""
    path = tmp_path / "e.csv"
    lines = ["file,person,cam,f1,f0,age,subset", "a.jpg,ann,1,0.5,-1e-3,30,query", "",
             "b.jpg,bob,2,2,1.25,31,gallery", "c.jpg,ann,2,4,3,32,gallery"]  # fmt: skip
    path.write_text("\n".join(lines))
    found = read_embedding_files([path], recorder.warn)
    (query,), (gallery,) = found["query"], found["gallery"]
    assert np.concatenate(list(query.blocks())).tolist() == [[np.float32(-1e-3), 0.5]]
    assert np.concatenate(list(gallery.blocks())).tolist() == [[1.25, 2], [3, 4]]
    assert (query.dtype, list(gallery.names())) == ("float32", ["b.jpg", "c.jpg"])
    assert query.pids[0] == gallery.pids[1] != gallery.pids[0]
    told = " ".join(recorder.warnings)
    assert "2 columns of numbers, f0 to f1" in told and "ignored age" in told
    path.write_text("\n".join(lines).replace("1.25", "x"))
    with pytest.raises(BadInput, match=r"e\.csv, line 4: could not convert string"):
        list(read_embedding_files([path], recorder.warn)["gallery"][0].blocks())
    path.write_text("1,2\n0.5,0.25\n")  # a vector to search with
    (one,) = read_embedding_files([path], recorder.warn, labelled=False)[""]
    assert next(one.blocks()).tolist() == [[0.5, 0.25]] and not one.labelled
    path.write_text("path,pid,split,f0,f2\na,1,query,1,2\n")
    with pytest.raises(BadInput, match="has no embeddings"):
        read(path)


def test_csv_of_a_spreadsheet(tmp_path, recorder):
    np.save(tmp_path / "e.npy", QUERY)
    text = "\ufeffsplit, pid,path,age,camid\r\nquery,1,a,30,\r\n\r\nquery,2,b,40,5\r\n"
    (tmp_path / "e.csv").write_text(text, encoding="utf-8", newline="")
    part = read(tmp_path / "e.npy", tmp_path / "e.csv", warn=recorder.warn)["query"][0]
    assert part.pids.tolist() == [1, 2]
    assert part.camids.tolist() == [-1, 5]
    assert recorder.warnings == [f"{tmp_path / 'e.csv'}: ignored age"]


def vector_folder(tmp_path, *, rows=None):
    for split, names in NAMES.items():
        for name, row in zip(names, FEATURES[split], strict=True):
            path = tmp_path / "vectors" / Path(name).with_suffix(".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, row if split == "query" else row[None])
    return tmp_path / "vectors"


def test_a_folder_of_vectors_and_its_table(tmp_path):
    folder = vector_folder(tmp_path)
    labels = table(tmp_path / "labels.csv")
    found = read(folder, labels)
    for split, (part,) in found.items():
        assert np.concatenate(list(part.blocks())).tolist() == FEATURES[split].tolist()
        assert part.pids.tolist() == PIDS[split] and part.camids.tolist() == CAMIDS[split]
    labels.rename(folder / "labels.csv")
    assert list(read(folder)) == ["query", "gallery"]
    np.save(folder / Path(NAMES["query"][1]).with_suffix(".npy"), np.zeros(9, np.float32))
    with pytest.raises(BadInput, match="is 9 wide, and the first is 4"):
        list(read(folder)["query"][0].blocks())


def test_a_folder_of_vectors_named_as_market1501(tmp_path):
    for name in ("query/0002_c1_0", "test/0002_c2_1", "test/-1_c2_1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", np.ones(4, np.float32))
    said = []
    found = read(tmp_path, warn=said.append)
    assert found["query"][0].pids.tolist() == [2] and found["gallery"][0].pids.tolist() == [-1, 2]
    assert found["gallery"][0].camids.tolist() == [2, 2] and "read as the gallery" in said[0]


def test_a_folder_of_vectors_without_labels(tmp_path):
    with pytest.raises(BadInput, match=r"is a folder without \.npy files"):
        read(tmp_path)
    np.save(tmp_path / "0002_c1_0.npy", np.ones(4, np.float32))
    with pytest.raises(BadInput, match=r"holds 1 \.npy files without labels: put one CSV of"):
        read(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_twice_in_one_npz_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, query_features=FEATURES["query"], query_pids=PIDS["query"])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("query_pids.npy", archive.read("query_pids.npy"))
    with pytest.raises(BadInput, match=r"x\.npz holds query_pids\.npy more than once"):
        read(path)
