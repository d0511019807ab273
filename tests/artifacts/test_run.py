"""A run folder whose files can be trusted."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.run import Run
from pipelines.errors import BadInput, MissingArtifact, StaleArtifact
from pipelines.files import file_digest, replacing, write_text


def make(run: Run, name: str, content: str, *, config=None, inputs=None) -> Manifest:
    wanted = Manifest(name, "a-stage", config or {}, inputs or {})
    with run.writing(wanted) as (path, facts):
        path.write_text(content)
        facts["letters"] = len(content)
    return wanted


def test_an_artifact_counts_only_with_its_manifest(tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(
        MissingArtifact,
        match=r"backbone.pt is not there, nor is its folder .--run.; make it with: nformer tr",
    ):
        run.artifact("backbone.pt")
    make(run, "backbone.pt", "weights")
    assert run.artifact("backbone.pt").read_text() == "weights"
    assert run.facts("backbone.pt") == {"letters": 7}
    run.manifest_path("backbone.pt").unlink()
    with pytest.raises(MissingArtifact):
        run.artifact("backbone.pt")


def test_equal_settings_are_up_to_date_and_others_are_stale(tmp_path):
    run = Run(tmp_path)
    wanted = make(run, "backbone.pt", "weights", config={"epochs": 3})
    assert run.is_current(wanted)
    assert not run.is_current(wanted, overwrite=True)
    other = Manifest("backbone.pt", "a-stage", {"epochs": 4}, {})
    with pytest.raises(StaleArtifact, match=r"epochs was 3, now 4. Add --overwrite"):
        run.is_current(other)
    assert not run.holds(other)


def test_what_was_made_from_another_input_is_stale_down_the_chain(tmp_path):
    run = Run(tmp_path)
    make(run, "backbone.pt", "one")
    make(run, "embeddings.h5", "e", inputs={"backbone.pt": run.digest("backbone.pt")})
    make(run, "nformer.pt", "n", inputs={"embeddings.h5": run.digest("embeddings.h5")})
    assert run.artifact("nformer.pt")
    make(run, "backbone.pt", "two")
    with pytest.raises(
        StaleArtifact, match=r"another backbone.pt .* nformer extract .*--overwrite"
    ):
        run.artifact("embeddings.h5")
    with pytest.raises(StaleArtifact, match=r"another embeddings.h5 .* nformer train-nformer"):
        run.artifact("nformer.pt")


def test_truncated_and_altered_files_are_refused(tmp_path):
    make(Run(tmp_path), "backbone.pt", "weights")
    path = tmp_path / "backbone.pt"
    path.write_text("weight")
    with pytest.raises(BadInput, match="cut or replaced: 6 bytes, its manifest records 7"):
        Run(tmp_path).artifact("backbone.pt")
    path.write_text("weighty")
    with pytest.raises(BadInput, match="damaged or replaced"):
        Run(tmp_path).artifact("backbone.pt")
    (tmp_path / "backbone.pt.json").write_text("{}")
    with pytest.raises(BadInput, match="not a manifest of ours"):
        Run(tmp_path).artifact("backbone.pt")


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    run = Run(tmp_path)
    make(run, "backbone.pt", "weights")
    with pytest.raises(BadInput, match="no space left on the disk while writing"):
        with replacing(run.path("backbone.pt")) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert run.artifact("backbone.pt").read_text() == "weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbone.pt", "backbone.pt.json"]


def test_a_killed_write_leaves_the_earlier_file_and_the_next_tidies(tmp_path):
    write_text(tmp_path / "a.txt", "whole")
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from pipelines.files import replacing\n"
        f"with replacing(Path({str(tmp_path / 'a.txt')!r})) as path:\n"
        "    path.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 2
    write_text(tmp_path / "a.txt", "again")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_run_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput) as error:
        Run(tmp_path / "file")
    assert str(error.value) == f"--run {tmp_path}/file is a file; a run is a folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="cannot be written"):
        write_text(tmp_path / "a.txt", "x")


def test_scratch_is_removed_with_its_parent(tmp_path):
    run = Run(tmp_path)
    (run.scratch("extract") / "chunk").touch()
    run.clear_scratch("extract")
    assert list(tmp_path.iterdir()) == []


def test_two_changed_inputs_are_both_named(tmp_path):
    run = Run(tmp_path)
    make(run, "embeddings.h5", "e")
    make(run, "nformer.pt", "n")
    inputs = {name: run.digest(name) for name in ("embeddings.h5", "nformer.pt")}
    make(run, "refined.h5", "r", inputs=inputs)
    assert run.changed_inputs("refined.h5") == []
    make(run, "embeddings.h5", "E")
    make(run, "nformer.pt", "N")
    assert run.changed_inputs("refined.h5") == ["embeddings.h5", "nformer.pt"]
    with pytest.raises(StaleArtifact) as error:
        run.artifact("refined.h5")
    assert str(error.value) == (
        f"{tmp_path}/refined.h5 was made from another embeddings.h5 and another nformer.pt than "
        f"the one there now; remake it with: nformer evaluate --run {tmp_path} --overwrite"
    )
    assert run.changed_inputs("nothing.h5") == []


def test_an_input_that_is_gone_does_not_make_an_artifact_stale(tmp_path):
    run = Run(tmp_path)
    make(run, "embeddings.h5", "e")
    make(run, "nformer.pt", "n", inputs={"embeddings.h5": run.digest("embeddings.h5")})
    run.path("embeddings.h5").unlink()
    assert run.artifact("nformer.pt") == tmp_path / "nformer.pt"


def test_an_input_in_another_run_is_as_stale_as_it_is_there(tmp_path):
    here, there = Run(tmp_path / "here"), Run(tmp_path / "there")
    make(there, "backbone.pt", "one")
    make(there, "embeddings.h5", "e", inputs={"backbone.pt": there.digest("backbone.pt")})
    inputs = {"../there/embeddings.h5": there.digest("embeddings.h5")}
    make(here, "nformer.pt", "n", inputs=inputs)
    assert here.changed_inputs("nformer.pt") == []
    make(there, "backbone.pt", "two")
    assert here.changed_inputs("nformer.pt") == ["../there/embeddings.h5"]


def test_what_is_not_whole_is_neither_held_nor_recorded(tmp_path):
    run = Run(tmp_path)
    wanted = make(run, "backbone.pt", "weights")
    assert run.digest("backbone.pt") == hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "backbone.pt").write_text("weight")
    truncated = (
        f"{tmp_path}/backbone.pt is cut or replaced: 6 bytes, its manifest records 7; "
        f"remake it with: nformer train-backbone DATASET --run {tmp_path} --overwrite"
    )
    for asked in (lambda: run.holds(wanted), lambda: run.digest("backbone.pt")):
        with pytest.raises(BadInput) as error:
            asked()
        assert str(error.value) == truncated
    (tmp_path / "backbone.pt").write_text("weighty")
    with pytest.raises(BadInput) as error:
        run.is_current(wanted)
    assert str(error.value) == (
        f"{tmp_path}/backbone.pt is damaged or replaced: its content is not what its manifest "
        f"records; remake it with: nformer train-backbone DATASET --run {tmp_path} --overwrite"
    )


def test_what_is_not_there_is_not_current_and_says_what_makes_it(tmp_path):
    run = Run(tmp_path)
    wanted = Manifest("embeddings.h5", "extract", {"seed": 1, "size": 8}, {})
    assert run.is_current(wanted) is False
    assert run.holds(wanted) is False
    missing = (
        f"{tmp_path}/embeddings.h5 is not there; make it with: nformer extract --run {tmp_path}"
    )
    for asked in (run.artifact, run.digest, run.facts):
        with pytest.raises(MissingArtifact) as error:
            asked("embeddings.h5")
        assert str(error.value) == missing
    make(run, "embeddings.h5", "e", config={"seed": 2, "size": 9})
    assert run.is_current(wanted, overwrite=True) is False
    with pytest.raises(StaleArtifact) as error:
        run.is_current(wanted)
    assert str(error.value) == (
        f"{tmp_path}/embeddings.h5 was made otherwise: it was made by a-stage; seed was 2, now 1; "
        "size was 9, now 8. Add --overwrite to replace it, or --run DIR to keep both"
    )
    make(run, "nformer.pt", "n", config={"k": 1})
    after = Manifest("nformer.pt", "a-stage", {"k": 2}, {"embeddings.h5": "an older one"})
    with pytest.raises(StaleArtifact, match=rf"to keep both, replace it in a copy of {tmp_path}"):
        run.is_current(after)  # another folder has no embeddings to make it from


def test_the_stage_that_made_it_is_named_where_several_could(tmp_path):
    run = Run(tmp_path)
    for stage, command in (
        ("import-embeddings", "import-embeddings FILE"),
        ("extract", "extract"),
    ):
        with run.writing(Manifest("embeddings.h5", stage, {}, {})) as (path, _):
            path.write_text("e")
        run.path("embeddings.h5").write_text("")
        with pytest.raises(BadInput, match=f"with: nformer {command} --run"):
            run.artifact("embeddings.h5")


def test_the_facts_of_the_wanted_manifest_are_kept(tmp_path):
    run = Run(tmp_path)
    wanted = Manifest("backbone.pt", "a-stage", {}, {}, facts={"dataset": "made up"})
    with run.writing(wanted) as (path, facts):
        path.write_text("weights")
        facts["letters"] = 7
    assert run.facts("backbone.pt") == {"dataset": "made up", "letters": 7}
    assert wanted.facts == {"dataset": "made up"}
    assert (run.manifest("backbone.pt").bytes, Run().folder) == (7, Path("runs/default"))


def test_scratch_of_one_stage_leaves_that_of_another(tmp_path):
    run = Run(tmp_path / "not" / "yet")
    run.clear_scratch("extract")  # nothing is there: nothing happens
    (run.scratch("extract") / "chunk").touch()
    assert run.scratch("extract") == run.folder / ".unfinished" / "extract"
    run.scratch("train")
    run.clear_scratch("train")
    assert (run.scratch("extract") / "chunk").exists()
    assert [path.name for path in (run.folder / ".unfinished").iterdir()] == ["extract"]


def test_a_file_is_read_again_only_when_it_changed(tmp_path, monkeypatch):
    run = Run(tmp_path)
    make(run, "backbone.pt", "weights")
    run.artifact("backbone.pt")
    read = []
    monkeypatch.setattr(
        "pipelines.artifacts.run.file_digest", lambda path: read.append(path) or file_digest(path)
    )
    run.artifact("backbone.pt")
    assert read == []
    later = run.path("backbone.pt").stat().st_mtime_ns + 10
    os.utime(run.path("backbone.pt"), ns=(later, later))
    run.artifact("backbone.pt")
    assert read == [run.path("backbone.pt")]


@pytest.mark.parametrize("last", ["file", "manifest"])
def test_killed_at_the_last_step_an_artifact_is_the_old_or_the_new(tmp_path, monkeypatch, last):
    """The file and its manifest are renamed one after the other; a kill comes before either."""
    run = Run(tmp_path)
    with run.writing(Manifest("a.h5", "extract", {"seed": 0}, {})) as (path, _):
        path.write_bytes(b"old")
    rename = os.replace

    def killed(source, target):
        if Path(target).name == ("a.h5" if last == "file" else "a.h5.json"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr("os.replace", killed)
    with (
        pytest.raises(KeyboardInterrupt),
        run.writing(Manifest("a.h5", "extract", {"seed": 1}, {})) as (path, _),
    ):
        path.write_bytes(b"new")
    monkeypatch.undo()
    again = Run(tmp_path)
    content, seed = (b"old", 0) if last == "file" else (b"new", 1)
    assert again.artifact("a.h5").read_bytes() == content
    assert again.manifest("a.h5").config == {"seed": seed}
    with again.writing(Manifest("a.h5", "extract", {"seed": 2}, {})) as (path, _):
        path.write_bytes(b"two")
    assert again.manifest("a.h5").config == {"seed": 2}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.h5", "a.h5.json"]
