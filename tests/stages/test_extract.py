"""Extraction: every image once, in order, unaugmented; resumed by chunks."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from helpers.layouts import write_images

from pipelines import Run, extract, load_embeddings, train_backbone
from pipelines.artifacts.backbone import load_backbone
from pipelines.artifacts.moved import pictures_root
from pipelines.config import BackboneConfig, ExtractConfig
from pipelines.data.augment import normalise
from pipelines.data.catalogue import open_dataset
from pipelines.data.images import ImageFiles
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.errors import BadInput, MissingArtifact, StaleArtifact
from pipelines.extraction import chunks as chunks_of
from pipelines.extraction.sources import dataset_facts, find_dataset
from pipelines.files import file_digest
from pipelines.preprocessing import Preprocessing

PLAIN = ExtractConfig(amp="off", batch=16, workers=1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_synthetic(folder, train_identities=4, test_identities=4, height=32, width=16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("run")
    config = BackboneConfig(
        arch="shufflenet_v2_x0_5", weights="none", height=32, width=16, dim=8, epochs=1, batch=8,
        instances=2, amp="off", workers=1,
    )  # fmt: skip
    train_backbone(Run(folder), "synthetic", root=images, config=config, device="cpu")
    return folder


@pytest.fixture
def run(tmp_path, trained):
    return Run(shutil.copytree(trained, tmp_path / "run"))


def test_every_image_is_embedded_as_in_evaluation_mode(run, images):
    path = extract(run, config=PLAIN, device="cpu")
    data = open_dataset("synthetic", images)
    backbone, _ = load_backbone(run.path("backbone.pt"))
    for split in ("train", "query", "gallery"):
        samples = data.split(split)
        found = load_embeddings(path, split)
        assert list(found.names) == [sample.name for sample in samples]
        assert found.pids.tolist() == [sample.pid for sample in samples]
        assert found.camids.tolist() == [sample.camid for sample in samples]
        source = ImageFiles(
            data.root, found.names, preprocessing=Preprocessing(height=32, width=16)
        )
        pixels = np.stack([source.read(row) for row in range(len(samples))])
        with torch.no_grad():
            expected = backbone(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
        np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-4)


def test_flip_averages_the_mirrored_view(run):
    plain = load_embeddings(extract(run, config=PLAIN, device="cpu"), "query").features
    config = ExtractConfig(amp="off", batch=16, flip=True)
    both = load_embeddings(extract(run, config=config, device="cpu", overwrite=True), "query")
    assert not np.allclose(plain, both.features)


def test_an_interrupted_extraction_goes_on_and_ends_the_same(
    monkeypatch, tmp_path, trained, caplog
):
    monkeypatch.setattr(chunks_of, "CHUNK", 8)
    whole, parts = (Run(shutil.copytree(trained, tmp_path / name)) for name in ("whole", "parts"))
    extract(whole, config=PLAIN, device="cpu")
    embed, calls = chunks_of.embed_rows, []

    def embed_three_chunks(*given, **named):
        calls.append(given)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return embed(*given, **named)

    monkeypatch.setattr(chunks_of, "embed_rows", embed_three_chunks)
    with pytest.raises(KeyboardInterrupt):
        extract(parts, config=PLAIN, device="cpu")
    assert not parts.path("embeddings.h5").exists()
    chunks = sorted(parts.scratch("embeddings.h5").glob("*.npz"))
    assert len(chunks) == 3
    flipped = bytearray(chunks[0].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    chunks[0].write_bytes(flipped)
    kept = {path: path.stat().st_mtime_ns for path in chunks[1:]}

    def checked(embedder, loader, *, rows, size):
        assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
        return embed(embedder, loader, rows=rows, size=size)

    monkeypatch.setattr(chunks_of, "embed_rows", checked)
    extract(parts, config=PLAIN, device="cpu")
    assert "is damaged: it is dropped" in caplog.text
    assert file_digest(whole.path("embeddings.h5")) == file_digest(parts.path("embeddings.h5"))
    assert not (parts.folder / ".unfinished").exists()


def test_of_torchruns_processes_the_first_puts_together_what_all_embedded(monkeypatch, run):
    monkeypatch.setattr(chunks_of, "CHUNK", 8)
    with monkeypatch.context() as second:
        for name, value in {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}.items():
            second.setenv(name, value)
        extract(run, config=PLAIN, device="cpu")
    assert not run.path("embeddings.h5").exists()
    assert not (run.folder / ".lock").exists()
    chunks = list((run.folder / ".unfinished" / "embeddings.h5").glob("*.npz"))
    sizes = [
        len(open_dataset("synthetic", run.facts("backbone.pt")["root"]).split(name))
        for name in ("train", "query", "gallery")
    ]
    assert len(chunks) == sum(-(-size // 8) for size in sizes)
    monkeypatch.setattr(chunks_of, "embed_rows", None)  # none is embedded again
    extract(run, config=PLAIN, device="cpu")
    assert run.path("embeddings.h5").exists()


def test_chunks_of_another_extraction_are_dropped(monkeypatch, run):
    left = run.scratch("embeddings.h5")
    (left / "key").write_text("another")
    (left / "train-000000000.npz").write_bytes(b"of another backbone")
    extract(run, config=PLAIN, device="cpu")
    assert len(load_embeddings(run.path("embeddings.h5"), "train")) > 0


def test_current_embeddings_keep_what_was_begun_to_replace_them(monkeypatch, run, recorder):
    monkeypatch.setattr(chunks_of, "CHUNK", 8)
    path = extract(run, config=PLAIN, device="cpu")
    embed, calls = chunks_of.embed_rows, []

    def embed_three_chunks(*given, **named):
        calls.append(given)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return embed(*given, **named)

    flipped = ExtractConfig(amp="off", batch=16, flip=True)
    with monkeypatch.context() as begun, pytest.raises(KeyboardInterrupt):
        begun.setattr(chunks_of, "embed_rows", embed_three_chunks)
        extract(run, config=flipped, device="cpu", overwrite=True)
    extract(run, config=PLAIN, device="cpu", progress=recorder)
    assert recorder.messages[-1].startswith(
        f"{path} is up to date; another, to replace it, is unfinished at image 24 of "
    )
    extract(run, config=flipped, device="cpu", overwrite=True, progress=recorder)
    assert any(text.startswith("going on after image 24 of") for text in recorder.messages)


def test_a_corrupt_image_fails_or_is_left_out_and_listed(run, images, tmp_path, recorder):
    copy = shutil.copytree(images, tmp_path / "copy")
    path = min((copy / "query").glob("*.jpg"))
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=rf"{path.name}: it is empty \(0 bytes\)"):
        extract(run, config=PLAIN, device="cpu", root=copy)
    before = len(open_dataset("synthetic", copy).split("query"))
    skipping = ExtractConfig(amp="off", batch=16, on_bad_image="skip")
    found = load_embeddings(
        extract(run, config=skipping, device="cpu", root=copy, progress=recorder), "query"
    )
    assert len(found) == before - 1 and f"query/{path.name}" not in found.names
    assert run.facts("embeddings.h5")["skipped"] == {f"query/{path.name}": "it is empty (0 bytes)"}
    assert run.facts("embeddings.h5")["images"]["query"] == before - 1
    assert "1 image could not be read and was left out" in recorder.warnings[-1]


def test_the_rate_is_told(run, recorder):
    extract(run, config=PLAIN, device="cpu", progress=recorder)
    assert recorder.messages[-1].endswith("images/s")
    extract(run, config=PLAIN, device="cpu", progress=recorder)
    assert recorder.messages[-1] == f"{run.path('embeddings.h5')} is up to date"


def test_the_same_images_elsewhere_are_up_to_date_and_are_shown_from_there(run, tmp_path, recorder):
    extract(run, config=PLAIN, device="cpu")
    moved, there = tmp_path / "moved", run.facts("embeddings.h5")["root"]
    shutil.copytree(there, moved)
    extract(run, config=PLAIN, device="cpu", root=moved, progress=recorder)
    assert recorder.messages[-1] == (
        f"{run.path('embeddings.h5')} is up to date, of the same images at {there}; pages show "
        f"them from {moved} from now on"
    )
    assert pictures_root(run, run.facts("embeddings.h5")) == str(moved)


def test_workers_make_no_other_artifact_but_flip_does(run):
    extract(run, config=PLAIN, device="cpu")
    extract(run, config=ExtractConfig(amp="off", batch=16, workers=0), device="cpu")
    with pytest.raises(StaleArtifact, match="flip was False, now True"):
        extract(run, config=ExtractConfig(amp="off", batch=16, flip=True), device="cpu")


def test_without_a_backbone_the_command_that_makes_it_is_named(tmp_path):
    with pytest.raises(MissingArtifact, match="make it with: nformer train-backbone"):
        extract(Run(tmp_path), config=PLAIN, device="cpu")


def test_a_truncated_backbone_is_refused(run):
    path = run.path("backbone.pt")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"backbone\.pt is cut or replaced"):
        extract(run, config=PLAIN, device="cpu")


def test_moved_images_are_found_where_the_root_says(run, images, tmp_path):
    moved = shutil.copytree(images, tmp_path / "moved")
    path = extract(run, config=PLAIN, device="cpu", root=moved)
    assert run.facts("embeddings.h5")["root"] == str(moved.resolve())
    assert path.exists()


@pytest.mark.parametrize("written", ["shots/", "{home}/shots/"], ids=["relative", "absolute"])
@pytest.mark.parametrize("also", ["nothing", "a table of the name"])
def test_moved_pictures_are_read_by_the_table_where_it_was(run, tmp_path, written, also):
    home, moved = tmp_path / "home", tmp_path / "moved"
    names = [f"{number}.jpg" for number in range(4)]
    write_images(home / "shots", names)
    table, splits = home / "list.csv", ("train", "train", "query", "gallery")
    lines = zip(names, (0, 0, 1, 1), (0, 1, 0, 1), splits, strict=True)
    first = written.format(home=home)
    table.write_text("path,pid,camid,split\n")
    with table.open("a") as file:
        file.writelines(
            f"{first}{name},{pid},{camid},{split}\n" for name, pid, camid, split in lines
        )
    before = open_dataset("csv", table)
    digest = before.digest()
    manifest = run.manifest("backbone.pt")
    facts = {**manifest.facts, **dataset_facts(before)}
    of_csv = dataclasses.replace(manifest, facts=facts)
    run.manifest_path("backbone.pt").write_text(of_csv.to_json())
    moved.mkdir()
    (home / "shots").rename(moved / "shots")
    if also != "nothing":
        (moved / "list.csv").write_text("of something else\n")
    assert pictures_root(run, facts, told=moved, names=["shots/3.jpg"]) == str(moved)
    for _ in range(2):
        found = find_dataset(run, None, root=None)
        assert found.digest() == digest and found.root == moved
        assert found.options["table"] == str(table)
        told = dataclasses.replace(manifest, facts={**facts, **dataset_facts(found)})
        run.manifest_path("backbone.pt").write_text(told.to_json())  # as trained from there
    run.manifest_path("backbone.pt").write_text(of_csv.to_json())
    if also == "nothing":
        assert find_dataset(run, None, root=moved).digest() == digest


def test_images_that_were_moved_ask_for_the_root(run):
    manifest = run.manifest("backbone.pt")
    gone = dataclasses.replace(manifest, facts={**manifest.facts, "root": "/gone"})
    run.manifest_path("backbone.pt").write_text(gone.to_json())
    message = "the images of data set synthetic were at /gone and are not there now; .* --root DIR"
    with pytest.raises(BadInput, match=message):
        extract(run, config=PLAIN, device="cpu")


def test_the_readers_options_may_be_given_at_extraction(run, images):
    with pytest.raises(BadInput, match="--distractors 500k: .* has no folder"):
        extract(
            run,
            config=PLAIN,
            device="cpu",
            dataset="market1501",
            root=images,
            options={"distractors": "500k"},
        )


def test_another_data_set_needs_a_root(run):
    with pytest.raises(BadInput, match="--root is needed: the backbone was trained on synthetic"):
        extract(run, config=PLAIN, device="cpu", dataset="market1501")


def test_cuda_where_there_is_none_says_so(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(BadInput, match="--device cuda: .*(no GPU driver|sees 0 CUDA devices)"):
        extract(run, config=PLAIN, device="cuda")
