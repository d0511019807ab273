import pytest
import torch

from pipelines.artifacts.checkpoints import save_checkpoint
from pipelines.artifacts.nformer import load_nformer, save_nformer
from pipelines.errors import BadInput
from pipelines.nformer.model import NFormer


def test_what_is_saved_is_loaded(tmp_path):
    model = NFormer(dim=6, classes=3, layers=2, heads=3, neighbours=7, graph="affinity")
    save_nformer(tmp_path / "nformer.pt", model, note="a fact")
    loaded = load_nformer(tmp_path / "nformer.pt")
    assert loaded.settings == model.settings and not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_the_same_model_is_the_same_bytes(tmp_path):
    for name in ("a.pt", "b.pt"):
        save_nformer(tmp_path / name, NFormer(dim=6, classes=3))
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "nformer.pt"
    save_checkpoint(path, {"w": torch.zeros(1)}, meta={"kind": "backbone"})
    with pytest.raises(BadInput, match="holds backbone, not an NFormer"):
        load_nformer(path)
    meta = {"kind": "nformer", "model": {"dim": 6, "classes": 3}}
    save_checkpoint(path, {"w": torch.zeros(1)}, meta=meta)
    with pytest.raises(BadInput, match="another version of nformer"):
        load_nformer(path)


def test_a_model_of_an_earlier_version_is_refused_with_the_command(tmp_path):
    path = tmp_path / "nformer.pt"
    model = {"dim": 6, "classes": 1, "prior": {"centre": "global"}, "share": 0.0}
    save_checkpoint(path, {"prior.mean": torch.zeros(6)}, meta={"kind": "nformer", "model": model})
    with pytest.raises(
        BadInput, match="written by another version .* nformer train-nformer --overwrite"
    ):
        load_nformer(path)
