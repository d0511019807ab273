"""Files are written whole or not at all, and nothing is left of a writer that was killed."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipelines.errors import BadInput
from pipelines.files import HOST, remove_left_over, replacing, sealed, sealing, write_text
from pipelines.hdf5 import writing

LIMIT = 100_000  # bytes


@pytest.fixture
def no_large_files():
    """Files may not pass LIMIT; Python ignores the signal, so that a write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("no_large_files")
def test_hdf5_that_may_not_grow_is_one_sentence_and_the_earlier_file_stays(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"earlier")
    with pytest.raises(
        BadInput, match=r"a file may not become so large here while writing .*x\.h5; the earlier"
    ):
        with replacing(path) as temporary, writing(temporary) as file:
            for part in range(10):
                file[f"part{part}"] = np.zeros(LIMIT // 8)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_hdf5_on_a_full_disk_is_one_sentence():
    with pytest.raises(BadInput, match="no space left on the disk while writing /dev/full"):
        with writing(Path("/dev/full")) as file:
            file["x"] = np.arange(1000)


def test_hdf5_written_through_python_is_what_was_given(tmp_path):
    with writing(tmp_path / "x.h5") as file:
        file.create_dataset("rows", data=np.arange(6).reshape(2, 3), chunks=(1, 3), compression=1)
        file.attrs["schema"] = 1
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["rows"][:].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert file.attrs["schema"] == 1


def test_temporary_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    dead, living = (tmp_path / f".x.h5.{HOST}.{pid}.0.tmp" for pid in (child.pid, os.getppid()))
    others = [living, tmp_path / ".x.h5.another-host.1.0.tmp", tmp_path / ".notes.tmp"]
    for path in (dead, *others):
        path.write_text("")
    remove_left_over(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_temporary_path_is_written_as_it_is(tmp_path):
    with replacing(tmp_path / "x") as temporary:
        write_text(temporary, "inside")
        assert list(tmp_path.iterdir()) == [temporary]
    assert (tmp_path / "x").read_text() == "inside"


def test_the_longest_name_has_room_for_a_temporary_one(tmp_path):
    path = tmp_path / ("x" * 255)
    write_text(path, "text")
    assert path.read_text() == "text"


def test_a_sealed_file_that_was_altered_is_dropped(tmp_path, caplog):
    for text in ("first", "second"):
        with sealing(tmp_path / "state.pt") as temporary:
            temporary.write_text(text)
    (found,) = tmp_path.iterdir()  # the earlier one is gone
    assert sealed(tmp_path / "state.pt") == found and found.read_text() == "second"
    found.write_text("other")
    assert sealed(tmp_path / "state.pt") is None
    assert "is damaged: it is dropped, and that part is made again" in caplog.text
    assert list(tmp_path.iterdir()) == []
