"""Checkpoints hold tensors and JSON, and run nobody's code."""

import argparse
import collections
import datetime
import enum
import functools
import pickle
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.artifacts.checkpoints import (
    load_checkpoint,
    load_untrusted,
    save_checkpoint,
)
from pipelines.artifacts.foreign_objects import Ignored
from pipelines.artifacts.safetensors_files import safetensors_bytes
from pipelines.errors import BadInput


def test_round_trip(tmp_path):
    save_checkpoint(tmp_path / "a.pt", {"w": torch.arange(3.0)}, meta={"dim": 3})
    tensors, meta = load_checkpoint(tmp_path / "a.pt")
    assert tensors["w"].tolist() == [0, 1, 2]
    assert meta == {"dim": 3}


def test_the_same_content_is_the_same_bytes(tmp_path):
    for name in ("a.pt", "another.pt"):
        save_checkpoint(tmp_path / name, {"w": torch.arange(3.0)}, meta={"dim": 3})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another.pt").read_bytes()


class Evil:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_refusals(tmp_path, capsys):
    with pytest.raises(BadInput, match="is not there"):
        load_checkpoint(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(BadInput, match="cannot be read as weights"):
        load_checkpoint(tmp_path / "text.pt")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BadInput, match="cannot be read as weights"):
        load_checkpoint(tmp_path / "evil.pt")
    torch.save({"w": Evil()}, tmp_path / "evil2.pt")
    with pytest.raises(BadInput, match="cannot be read as weights"):
        load_checkpoint(tmp_path / "evil2.pt")
    assert "never be printed" not in capsys.readouterr().out
    torch.save({"w": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(BadInput, match="not a checkpoint of nformer's"):
        load_checkpoint(tmp_path / "foreign.pt")
    save_checkpoint(tmp_path / "a.pt", {"w": torch.zeros(1000)}, meta={})
    (tmp_path / "half.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:2000])
    with pytest.raises(BadInput, match="cannot be read as weights"):
        load_checkpoint(tmp_path / "half.pt")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_full_disk_is_an_error_of_the_disk(size):
    with pytest.raises(BadInput, match="no space left on the disk while writing"):
        save_checkpoint(Path("/dev/full"), {"a": torch.zeros(size)}, meta={})


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_are_read_and_other_objects_stand_aside(tmp_path, zipped, caplog):
    weights = {"w": torch.arange(3.0)}
    beside = {
        "rank1": np.float64(0.83),
        "array": np.arange(3),
        "args": argparse.Namespace(lr=1, folder=Path("x")),
        "seen": Counter("aab"),
        "when": datetime.datetime(2026, 1, 1),
    }
    content = {"state_dict": weights, **beside}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = load_untrusted(tmp_path / "w.pth")
    assert torch.equal(found["state_dict"]["w"], weights["w"])
    assert found["rank1"] == 0.83 and found["array"].tolist() == [0, 1, 2]
    assert isinstance(found["args"], Ignored) and isinstance(found["when"], Ignored)
    assert not zipped or "ignored argparse.Namespace" in caplog.text


def test_an_object_that_would_run_is_never_run(tmp_path, capsys):
    torch.save({"w": Evil(), "v": torch.ones(1)}, tmp_path / "evil.pt")
    assert isinstance(load_untrusted(tmp_path / "evil.pt")["w"], Ignored)
    assert "never be printed" not in capsys.readouterr().out


@pytest.mark.parametrize("meta", ["[1]", "{", "3", "\\", "[" * 100_000])
def test_facts_that_are_no_table_are_refused(tmp_path, meta):
    torch.save({"meta": meta, "tensors": {}}, tmp_path / "a.pt")
    with pytest.raises(BadInput, match="checkpoint of nformer's"):
        load_checkpoint(tmp_path / "a.pt")


class Configuration(dict):
    """As yacs, omegaconf and easydict have them."""

    def __getattr__(self, name):
        return self[name]


class Listed(list):
    pass


class Size(enum.Enum):
    LARGE = 1


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "beside",
    [
        Configuration(model=Configuration(name="vit"), lr=[0.1]),
        argparse.Namespace(configuration=Configuration(lr=1)),
        Listed([1, 2]),
        Size.LARGE,
        collections.defaultdict(list, {"a": [1]}),
        collections.deque([1]),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        functools.partial(int, 1),
        range(3),
        len,
        np.random.default_rng(0),
    ],
    ids=lambda one: type(one).__name__,
)
def test_objects_of_any_class_beside_the_tensors_are_passed_over(tmp_path, zipped, beside, caplog):
    content = {"before": torch.ones(1), "beside": beside, "after": torch.arange(3.0)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = load_untrusted(tmp_path / "w.pth")
    assert found["before"].tolist() == [1] and found["after"].tolist() == [0, 1, 2]
    assert "w.pth: ignored" in caplog.text


def test_a_whole_network_gives_its_tensors_and_runs_nothing(tmp_path, monkeypatch):
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU())
    torch.save({"net": network, "epoch": 3}, tmp_path / "w.pth")
    monkeypatch.setattr(torch.nn.Linear, "__setstate__", None)
    found = load_untrusted(tmp_path / "w.pth")["net"]
    wanted = network.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in found.items())


def test_safetensors_are_read_and_what_is_none_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    tensors = {"w": torch.arange(3.0), "half": torch.ones(2, dtype=torch.float16)}
    texts = {"arch": "vit", "wants": '{"mean": [0.5]}', "é": "ü"}
    content = safetensors_bytes(tensors, metadata=texts)
    assert {safetensors_bytes(tensors, metadata=texts) for _ in range(8)} == {content}
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    found = load_untrusted(path)
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    for broken in (content[:40], b"", b"\xff" * 100):
        path.write_bytes(broken)
        with pytest.raises(BadInput, match=r"w\.safetensors cannot be read as safetensors"):
            load_untrusted(path)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(BadInput, match=r"needs safetensors: python -m pip install 'nformer"):
        load_untrusted(path)
