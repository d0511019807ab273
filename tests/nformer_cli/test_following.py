"""The command that a command names next: whole, with the run, and one that works."""

import numpy as np
import pytest
import torch
from helpers.commands import nformer, refused

from pipelines.artifacts.checkpoints import save_checkpoint

WITHOUT = {
    "all": (),
    "test": ("train",),
    "gallery": ("train", "query"),
    "train": ("query", "gallery"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, left_out in WITHOUT.items():
        arrays = {}
        for split in ("train", "query", "gallery"):
            if split not in left_out:
                arrays[f"{split}_features"] = random.normal(size=(20, 8)).astype(np.float32)
                arrays[f"{split}_pids"] = np.repeat(np.arange(5), 4) + 100 * (split == "train")
                arrays[f"{split}_camids"] = np.arange(20) % 2
        np.savez(tmp_path / f"{name}.npz", **arrays)
    return tmp_path


def last(line):
    done = nformer(line)
    assert done.code == 0, done.err
    return done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "following"),
    [("all", "train-nformer"), ("test", "evaluate"), ("gallery", "index")],
)
def test_after_an_import_comes_what_its_splits_allow(folder, name, following):
    said = last(f"import-embeddings {name}.npz --run 'my run'")
    assert said == f"my run/embeddings.h5; next: nformer {following} --run 'my run'"
    nextly = last(said.partition("next: nformer ")[2])
    assert "error" not in nextly


def test_after_a_training_set_alone_comes_a_run_with_a_gallery(folder):
    nformer("import-embeddings train.npz --run r")
    said = last("train-nformer --run r --steps 1 --no-closed-form --set held_out=0")
    command = "nformer evaluate --model r/nformer.pt --run ANOTHER"
    assert f"next: {command} (with query and gallery" in said
    nformer("import-embeddings test.npz --run ANOTHER")
    assert nformer(command.removeprefix("nformer ")).code == 0
    done = nformer("cluster --run r")
    assert done.code == 2 and done.err == (
        "error: r/embeddings.h5 has no query and no gallery; nothing is there to cluster\n"
    )


def test_after_an_index_of_imported_items_no_picture_is_asked_for(folder):
    nformer("import-embeddings gallery.npz --run r")
    said = last("index --run r")
    assert "next: nformer search QUERY.npz --run r (embeddings of a picture by the same" in said
    assert nformer("search all.npz --run r --top 2").code == 0


def test_what_was_asked_of_refine_is_asked_of_evaluate(folder):
    nformer("import-embeddings all.npz --run r")
    nformer("train-nformer --run r --steps 1 --no-closed-form --set held_out=0")
    said = last("refine --run r --protocol joint --seed 3")
    assert said.endswith("next: nformer evaluate --protocol joint --seed 3 --run r")


def test_a_recipe_with_settings_for_the_next_command_is_named(folder):
    folder.joinpath("mine.toml").write_text("[nformer]\nsteps = 1\n[evaluate]\nrerank = ['kr']\n")
    nformer("import-embeddings all.npz --run r")
    said = last("train-nformer --run r --recipe mine.toml")
    assert said.endswith("next: nformer evaluate --recipe mine.toml --run r")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        (
            "train-nformer --run 'my run'",
            "import-nformer FILE --run 'my run'",
        ),
        (
            "evaluate --run 'my run' --model other.pt",
            "train-nformer --run 'my run', or from the authors' file by "
            "nformer import-nformer FILE --run 'my run'",
        ),
        (
            "train-backbone folder --root . --run 'my run' --arch pass:vit_small",
            "extract --arch pass:vit_small --weights FILE --run 'my run'",
        ),
        ("search x.npz --run 'my run'", "index --run 'my run'"),
        ("index add x.npz --run 'my run'", "index --run 'my run'"),
        ("report --run 'my run'", "evaluate --run 'my run'"),
    ],
)
def test_a_remedy_is_a_command_whole(folder, line, remedy):
    arrays = dict(np.load("test.npz"))
    np.savez("x.npz", **arrays)
    save_checkpoint(folder / "other.pt", {"a": torch.ones(2)}, meta={"kind": "backbone"})
    assert nformer("import-embeddings test.npz --run 'my run'").code == 0
    assert f"nformer {remedy}" in refused(line)
