"""A run remembers where its pictures lie now, by where they lay."""

import shutil

import pytest

from pipelines import Run
from pipelines.artifacts.moved import NAME, pictures_root


def test_what_root_told_is_remembered_until_it_is_told_anew(tmp_path):
    run, facts = Run(tmp_path / "run"), {"root": "/before"}
    run.folder.mkdir()
    assert pictures_root(run, facts) == "/before"
    for place in (tmp_path / "one", tmp_path / "two"):
        place.mkdir()
        (place / "a.jpg").touch()
        assert pictures_root(run, facts, told=place, names=["a.jpg"]) == str(place)
        assert pictures_root(Run(run.folder), facts) == str(place)
    assert pictures_root(run, {"root": "/of another"}) == "/of another"
    assert pictures_root(run, {}) == ""  # an import without --root
    shutil.rmtree(place)
    assert pictures_root(run, facts) == "/before", "a folder that is gone is forgotten"


@pytest.mark.parametrize("content", ["", "[1]", "{", "3"])
def test_a_damaged_note_is_none(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    assert pictures_root(Run(tmp_path), {"root": "/before"}) == "/before"
    told = {"told": tmp_path, "names": [NAME]}
    assert pictures_root(Run(tmp_path), {"root": "/before"}, **told) == str(tmp_path)
    assert pictures_root(Run(tmp_path), {"root": "/before"}) == str(tmp_path)


def test_a_run_that_can_only_be_read_is_told_each_time(tmp_path, monkeypatch):
    def refused(path, text):
        raise PermissionError

    monkeypatch.setattr("pipelines.artifacts.moved.write_text", refused)
    (tmp_path / "a.jpg").touch()
    told = {"told": tmp_path, "names": ["a.jpg"]}
    assert pictures_root(Run(tmp_path), {"root": "/before"}, **told) == str(tmp_path)


def test_a_folder_without_any_of_the_pictures_is_neither_used_nor_remembered(tmp_path, recorder):
    run, facts = Run(tmp_path / "run"), {"root": "/before"}
    for place in ("run", "good/in/shots", "pics"):
        (tmp_path / place).mkdir(parents=True)
    names = ["in/shots/a.jpg#xywh=1,2,3,4", "in/shots/b.jpg"]
    (tmp_path / "good" / "in" / "shots" / "b.jpg").touch()  # one of them is enough
    good, wrong = str(tmp_path / "good"), tmp_path / "pics"
    asked = {"names": names, "progress": recorder}
    assert pictures_root(run, facts, told=good, **asked) == good
    assert not recorder.warnings
    assert pictures_root(run, facts, told=wrong, **asked) == good
    said = (
        f"--root {wrong} is neither used nor remembered: none of 2 pictures is below it. Wanted "
        "is the folder that holds in/shots/a.jpg"
    )
    assert recorder.warnings == [said]
    assert pictures_root(run, facts) == good
    (wrong / "a.jpg").touch()
    assert pictures_root(run, facts, told=wrong, **asked) == good
    assert recorder.warnings[1] == (
        f"{said}; a.jpg is there: move it into a folder in/shots, and name its parent"
    )
    assert pictures_root(run, {}, told=wrong, progress=recorder) == ""
    assert (
        recorder.warnings[2]
        == f"--root {wrong} is neither used nor remembered: no pictures are named"
    )
