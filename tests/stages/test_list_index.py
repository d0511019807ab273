"""A large index is looked through by lists, which are made once and again when it changes."""

import numpy as np
import pytest
from helpers.gallery_runs import GALLERY, run_with

from pipelines import Run, Searcher
from pipelines.artifacts.manifest import Manifest
from pipelines.embeddings import Embeddings
from pipelines.extraction.pictures import Gathered
from pipelines.gallery.index import build_index
from pipelines.gallery.index_file import save_index
from pipelines.stages import list_index
from pipelines.stages.index import index_gallery
from pipelines.stages.info import info
from pipelines.stages.list_index import listed


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    found = run_with(tmp_path_factory.mktemp("listed"), GALLERY)
    index_gallery(found)
    return found


def test_a_small_index_stays_as_it_is(run, recorder):
    searcher = Searcher(run)
    assert listed(run, searcher.stored, progress=recorder) is searcher.stored
    assert not run.path("index.lists.h5").exists()


def test_lists_of_refined_and_plain_rows_are_made_once(run, recorder, monkeypatch):
    found = listed(run, Searcher(run).stored, least=100, progress=recorder)
    assert sorted(found.index.lists) == ["plain", "rows"]
    assert "120 items in 3 lists, " in recorder.messages[-1]
    facts = run.facts("index.lists.h5")
    assert facts["recall"]["rows"] == pytest.approx(found.index.lists["rows"].recall, abs=1e-4)
    monkeypatch.setattr(list_index, "inverted_lists", None)  # not called again
    again = listed(run, Searcher(run).stored, least=100)
    np.testing.assert_array_equal(again.index.lists["rows"].rows, found.index.lists["rows"].rows)
    assert again.index.lists["plain"].probes == found.index.lists["plain"].probes


def test_answers_are_those_of_a_search_where_all_lists_are_looked_through(run):
    from dataclasses import replace

    exact, through = Searcher(run), Searcher(run)
    stored = listed(run, through.stored, least=100)
    lists = {name: replace(one, probes=3) for name, one in stored.index.lists.items()}
    through.stored = replace(stored, index=replace(stored.index, lists=lists))
    rows = np.random.default_rng(5).standard_normal((4, 16)).astype(np.float32)
    asked = Gathered(Embeddings(rows), [None] * 4)
    one, other = (s.answered(asked, top=7, threshold=0.5) for s in (exact, through))
    for mine, theirs in zip(one.answers, other.answers, strict=True):
        rounded = [replace(hit, similarity=0.0) for hit in mine.hits]
        assert [replace(hit, similarity=0.0) for hit in theirs.hits] == rounded
        similarity = [hit.similarity for hit in theirs.hits]
        assert similarity == pytest.approx([hit.similarity for hit in mine.hits], abs=2e-6)
        assert replace(theirs, hits=[]) == replace(mine, hits=[])


def test_lists_of_another_index_are_made_again(tmp_path):
    run = Run(tmp_path)
    recalls = []
    for seed in (0, 1):
        rows = np.random.default_rng(seed).standard_normal((200, 8))
        facts = {"dataset": "", "root": "", "calibration": None, "added": 0, "removed": 0}
        with run.writing(Manifest("index.h5", "index", {"seed": seed}, {}, facts)) as (path, _):
            save_index(path, build_index(Embeddings(rows), None))
        found = listed(run, Searcher(run).stored, least=100)
        assert list(found.index.lists) == ["rows"]
        recalls.append(found.index.lists["rows"].centres)
        sealed = run.manifest("index.lists.h5")
        assert sealed.inputs == {"index.h5": run.manifest("index.h5").sha256}
    assert not np.allclose(recalls[0], recalls[1])


def test_info_tells_their_recall(run):
    listed(run, Searcher(run).stored, least=100)
    told = {one.name: one for one in info(run)}["index.lists.h5"]
    assert (told.state, told.command) == ("whole", "serve")
    assert told.note.endswith(" of the 20 nearest items are found")
