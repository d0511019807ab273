"""OSNet x0.25 of torchreid's zoo: its exported weights give the exported network's features."""

import numpy as np
import pytest
import torch

from pipelines.backbones.published import PUBLISHED
from pipelines.backbones.state_dicts import load_network


def unfolded(path):
    """Return the tensors of an exported network, its folded batch norms as bare shifts."""
    onnx = pytest.importorskip("onnx")
    from onnx.numpy_helper import to_array

    graph = onnx.load(str(path)).graph
    given = {one.name: torch.tensor(to_array(one)) for one in graph.initializer}
    found = {name: value for name, value in given.items() if name[0] != "/" and "::" not in name}
    for node in graph.node:
        folded = [given[name] for name in node.input if "::" in name]
        if node.op_type != "Conv" or not folded:
            continue
        convolution = module_of(node.name)
        norm = f"{convolution.rpartition('.')[0]}.bn"
        weight, bias = folded
        found[f"{convolution}.weight"] = weight
        found[f"{norm}.bias"] = bias
        found[f"{norm}.running_mean"] = torch.zeros_like(bias)
        found[f"{norm}.running_var"] = torch.ones_like(bias) - 1e-5  # less the epsilon
        found[f"{norm}.weight"] = torch.ones_like(bias)
    return found


def module_of(node):
    """/conv2/conv2.0/conv1/conv/Conv -> conv2.0.conv1.conv"""
    found = []
    for step in node.strip("/").split("/")[:-1]:
        if found and step.startswith(f"{found[-1]}."):
            found.pop()
        found.append(step)
    return ".".join(found)


def test_osnet_gives_what_the_exported_network_gives(shared):
    runtime = pytest.importorskip("onnxruntime")
    path = shared("weights/osnet_x0_25_msmt17.onnx")
    network = PUBLISHED["osnet_x0_25"].build(size=(256, 128)).eval()
    loaded = load_network(network, unfolded(path), source=str(path))
    assert loaded.made_anew == ()
    images = torch.randn(4, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"images": images.numpy()})[0]
    with torch.inference_mode():
        ours = network(images).numpy()
    lengths = np.linalg.norm(theirs, axis=1, keepdims=True)
    assert np.abs(ours - theirs).max() < 1e-4 * lengths.min()
