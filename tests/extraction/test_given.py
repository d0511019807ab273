"""Options that name a network are checked before anything is loaded."""

import pytest

from pipelines.config import ExtractConfig
from pipelines.errors import BadInput
from pipelines.extraction.given import GivenNetwork, given_network, network_settings, require_own


def test_each_way_to_name_a_network(tmp_path):
    file = tmp_path / "w.pth"
    file.write_bytes(b"weights")
    assert given_network() is None
    assert given_network(arch="a", weights=file) == GivenNetwork("a", str(file))
    assert given_network(arch="a", weights="imagenet") == GivenNetwork("a", "imagenet")
    assert given_network(onnx=file) == GivenNetwork("", str(file))
    assert list(given_network(onnx=file).inputs()) == ["onnx network"]
    assert given_network(arch="a", weights="imagenet").inputs() == {}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"arch": "a"}, "--arch a needs --weights"),
        ({"weights": "w.pth"}, "--weights w.pth needs --arch"),
        ({"arch": "a", "weights": "no.pth"}, "--weights no.pth: no such file"),
        ({"arch": "a", "weights": "."}, "--weights .: it is a folder"),
        ({"onnx": "no.onnx"}, "--onnx no.onnx: no such file"),
        ({"onnx": "n.onnx", "arch": "a"}, "holds its architecture and weights"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, problem):
    with pytest.raises(BadInput) as caught:
        given_network(**options)
    assert problem in str(caught.value)


def test_a_trained_backbone_takes_no_other_preprocessing():
    assert network_settings(ExtractConfig()) == {}
    assert network_settings(ExtractConfig(mean=(0.5,), l2=True)) == {"mean": [0.5], "l2": True}
    require_own(ExtractConfig(flip=True))
    with pytest.raises(BadInput, match="--set fit=pad: backbone.pt takes images as it was trained"):
        require_own(ExtractConfig(fit="pad"))
