"""backbone.pt -> backbone.onnx, .torchscript or .safetensors, checked against torch"""

import contextlib
import copy
import io
import json
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..artifacts.backbone import exported_bytes, load_backbone
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run, writing_stage
from ..artifacts.safetensors_files import load_safetensors
from ..backbones.onnx_network import METADATA
from ..errors import BadInput, PipelineError
from ..files import write_text
from ..preprocessing import Preprocessing
from ..progress import Progress, Silent
from ..reporting.model_card import model_card
from .early import NETWORK_FORMATS, require_network_format

Format = Literal["onnx", "torchscript", "safetensors"]
NAMES = {name: f"backbone.{name}" for name in NETWORK_FORMATS}
TOLERANCE = 1e-3  # of the largest embedding value: float32 in another order of operations
OPSET = 18


@writing_stage
def export(
    run: Run, *, format: Format = "onnx", overwrite: bool = False, progress: Progress = Silent()
) -> Path:
    """Write the backbone, float32, for any batch size; return its path.

    Input `images` [B, 3, H, W], RGB / 255, less ImageNet's mean, by its deviation; output
    `embeddings` [B, dim]. What the network wants of images stands in the file's metadata. The file
    is run and compared with torch before it is kept. A `.safetensors` holds the weights alone, by
    the names of backbone.pt, and in its metadata the architecture too. Beside it stands its model
    card, NAME.md.

    Raises:
        BadInput: an unknown format, or a package that it needs is not installed.
        PipelineError: the file's embeddings are not torch's.
    """
    require_network_format(format)
    backbone, facts = load_backbone(run.artifact("backbone.pt"))
    kept = {key: facts[key] for key in ("arch", "dim", "height", "width")}
    inputs = {"backbone.pt": run.digest("backbone.pt")}
    wanted = Manifest(NAMES[format], "export", {"format": format}, inputs, facts=kept)
    if run.is_current(wanted, overwrite=overwrite):
        progress.message(f"{run.path(wanted.artifact)} is up to date")
        return _with_card(run, format)
    parts = {name: getattr(backbone, name) for name in ("body", "projection", "bottleneck")}
    network = nn.Sequential(OrderedDict(parts)).eval()  # without autocast: exporters can follow it
    wants = Preprocessing(height=facts["height"], width=facts["width"])
    height, width = wants.height, wants.width
    with run.writing(wanted) as (path, recorded):
        images = example_images(height, width)
        if format == "onnx":
            _write_onnx(network, path, images=images, wants=wants)
        elif format == "torchscript":
            _write_torchscript(network, path, images=images, wants=wants)
        else:
            stated = {"arch": str(facts["arch"]), METADATA: json.dumps(wants.as_table())}
            path.write_bytes(exported_bytes(network.state_dict(), facts, metadata=stated))
        others = example_images(height, width, count=3)
        difference = _difference(network, path, format=format, images=others)
        recorded["maximum_difference"] = difference
    progress.message(f"largest difference from torch: {difference:.2g}")
    return _with_card(run, format)


def _with_card(run: Run, format: Format) -> Path:
    """Write the model card of an exported file beside it, with the results known by now."""
    path = run.path(NAMES[format])
    card = model_card(run, run.require_manifest(path.name), format=format, file=path.name)
    write_text(path.with_name(f"{path.name}.md"), card)
    return path


def example_images(height: int, width: int, *, count: int = 2) -> Tensor:
    """Return [count, 3, height, width] normalised noise to trace and to compare with."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, height, width, generator=generator)


def _write_onnx(network: nn.Module, path: Path, *, images: Tensor, wants: Preprocessing) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BadInput(
            f"--format onnx needs {error.name}: python -m pip install 'nformer[onnx]'"
        ) from None
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's talk about its own insides
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes=({0: batch},),
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props[METADATA] = json.dumps(wants.as_table())
        program.save(str(path), external_data=False)


def _write_torchscript(
    network: nn.Module, path: Path, *, images: Tensor, wants: Preprocessing
) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of Python values in attention's reshapes
        content = io.BytesIO()  # given a path, torch ends the process where the disk is full
        extra = {METADATA: json.dumps(wants.as_table())}
        torch.jit.save(torch.jit.trace(network, images), content, _extra_files=extra)
    path.write_bytes(content.getbuffer())


def _difference(network: nn.Module, path: Path, *, format: Format, images: Tensor) -> float:
    """Return the largest difference between the file's embeddings and torch's, another batch."""
    with torch.no_grad():
        expected = network(images).numpy()
    if format == "onnx":
        from ..backbones.onnx_network import OnnxNetwork

        found = OnnxNetwork(path)(images.numpy())
    elif format == "safetensors":
        with torch.no_grad():
            read = copy.deepcopy(network)
            read.load_state_dict(load_safetensors(path))
            found = read(images).numpy()
    else:
        with torch.no_grad(), warnings.catch_warnings():
            # PyTorch recommends torch.export's files, which other programs do not read yet.
            warnings.simplefilter("ignore")
            content = io.BytesIO(path.read_bytes())  # of a missing file it raises ValueError
            found = torch.jit.load(content)(images).numpy()
    difference = float(np.abs(found - expected).max())
    largest = float(np.abs(expected).max())
    if not difference <= TOLERANCE * max(1.0, largest):
        raise PipelineError(
            f"the exported network's embeddings differ from torch's by {difference:.2g} (values up "
            f"to {largest:.2g}); nothing was written. Try the other --format"
        )
    return difference
