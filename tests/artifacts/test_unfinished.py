"""What is kept of an interrupted stage, and how to go on."""

import os

import pytest

from pipelines import BadInput, Run
from pipelines.artifacts.unfinished import (
    NAME,
    kept_of_this_command,
    note_progress,
    require_unfinished,
    unfinished_in,
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / ".unfinished" / "backbone.pt"
    folder.mkdir(parents=True)
    return folder


def test_the_command_is_remembered_with_the_folder_that_it_was_typed_in(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["/bin/nformer", "train-backbone", "folder", "--root", "a b"])
    monkeypatch.chdir(tmp_path)
    note_progress(folder, 2, of=3000, unit="epoch", purpose="k")
    kept = unfinished_in(folder)
    assert str(kept) == "epoch 2 of 3,000"
    line = "nformer train-backbone folder --root 'a b'"
    assert kept.go_on(otherwise="") == f"go on with: {line}"
    monkeypatch.chdir(folder)
    assert kept.go_on(otherwise="") == f"go on with, in {tmp_path}: {line}"
    missing = Run(tmp_path).missing("backbone.pt")
    assert missing.endswith(f"interrupted at epoch 2 of 3,000; go on with, in {tmp_path}: {line}")


def test_of_another_program_the_command_that_makes_it_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/my/script.py", "secret"])
    note_progress(folder, 1, of=3, unit="epoch", purpose="k")
    assert "secret" not in (folder / NAME).read_text()
    said = Run(tmp_path).missing("backbone.pt")
    assert f"began it: nformer train-backbone DATASET --run {tmp_path}" in said


def test_what_others_interrupted_is_not_lost_without_a_word(folder):
    note_progress(folder, 1, of=3, unit="epoch", purpose="k")
    require_unfinished(folder, purpose="k", overwrite=False)
    require_unfinished(folder, purpose="other", overwrite=True)
    require_unfinished(folder.with_name("nformer.pt"), purpose="other", overwrite=False)
    with pytest.raises(BadInput, match=r"interrupted at epoch 1 of 3 with other settings"):
        require_unfinished(folder, purpose="other", overwrite=False)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"done": "x", "of": 2, "unit": "a"}', "null"])
def test_a_damaged_note_is_none(folder, text):
    (folder / NAME).write_text(text)
    assert unfinished_in(folder) is None


def test_a_note_in_which_anything_was_changed_is_none(folder):
    note_progress(folder, 1, of=3, unit="epoch", purpose="purpose")
    content = (folder / NAME).read_bytes()
    for place in range(len(content)):
        changed = bytes([content[place] ^ 4])
        (folder / NAME).write_bytes(content[:place] + changed + content[place + 1 :])
        assert unfinished_in(folder) is None, changed


def test_a_note_of_an_earlier_version_is_taken(folder):
    (folder / NAME).write_text('{"done": 1, "of": 2, "unit": "epoch"}')
    assert str(unfinished_in(folder)) == "epoch 1 of 2"
    assert os.listdir(folder) == [NAME]


def test_what_is_kept_of_this_command_is_told_from_others(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/nformer", "train-nformer", "--run", "r"])
    assert kept_of_this_command(tmp_path) is None
    note_progress(tmp_path / "nformer.pt", 3, of=9, unit="step", purpose="p")
    assert str(kept_of_this_command(tmp_path)) == "step 3 of 9"
    monkeypatch.setattr("sys.argv", ["/bin/nformer", "extract", "--run", "r"])
    assert kept_of_this_command(tmp_path) is None
