"""A run remembers where its pictures lie now, by where they lay."""

import pytest

from pipelines import Run
from pipelines.artifacts.moved import NAME, pictures_root


def test_what_root_told_is_remembered_until_it_is_told_anew(tmp_path):
    run, facts = Run(tmp_path / "run"), {"root": "/before"}
    run.folder.mkdir()
    assert pictures_root(run, facts) == "/before"
    for place in (tmp_path / "one", tmp_path / "two"):
        place.mkdir()
        assert pictures_root(run, facts, told=place) == str(place)
        assert pictures_root(Run(run.folder), facts) == str(place)
    assert pictures_root(run, {"root": "/of another"}) == "/of another"
    assert pictures_root(run, {}) == ""  # an import without --root
    place.rmdir()
    assert pictures_root(run, facts) == "/before", "a folder that is gone is forgotten"


@pytest.mark.parametrize("content", ["", "[1]", "{", "3"])
def test_a_damaged_note_is_none(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    assert pictures_root(Run(tmp_path), {"root": "/before"}) == "/before"
    assert pictures_root(Run(tmp_path), {"root": "/before"}, told=tmp_path) == str(tmp_path)
    assert pictures_root(Run(tmp_path), {"root": "/before"}) == str(tmp_path)


def test_a_run_that_can_only_be_read_is_told_each_time(tmp_path, monkeypatch):
    def refused(path, text):
        raise PermissionError

    monkeypatch.setattr("pipelines.artifacts.moved.write_text", refused)
    assert pictures_root(Run(tmp_path), {"root": "/before"}, told=tmp_path) == str(tmp_path)
