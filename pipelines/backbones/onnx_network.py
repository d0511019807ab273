"""Any ONNX network that turns images into embeddings, run by onnxruntime."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, blaming
from ..preprocessing import Preprocessing

METADATA = "nformer.preprocessing"  # the key of the model's metadata that says what it wants


class OnnxNetwork:
    """A network from a file: [B, 3, H, W] float32 -> [B, d] float32.

    output: the name of the output that is taken; "": the first.
    height, width: of the images it takes; None where any size goes.   batch: of a fixed size, or
    None.
    preprocessing: what it wants of images, where its metadata says so.

    Raises:
        BadInput: onnxruntime is not installed, or the file is no network of this shape.
    """

    def __init__(self, path: str | Path, *, device: str = "cpu", output: str = "") -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as state
        except ImportError:
            raise BadInput(
                f"{path} needs onnxruntime: python -m pip install 'nformer[onnx]'"
            ) from None
        if not Path(path).is_file():
            raise BadInput(f"{path} is not there; a network in ONNX format is wanted")
        known = onnxruntime.get_available_providers()
        wanted = ["CUDAExecutionProvider"] * (device == "cuda") + ["CPUExecutionProvider"]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = [provider for provider in wanted if provider in known]
        try:
            self.session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=providers
            )
        except (
            state.Fail,
            state.InvalidArgument,
            state.InvalidGraph,
            state.InvalidProtobuf,
            state.NoSuchFile,
            state.NotImplemented,
            state.RuntimeException,
        ) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(f"{path} cannot be read as an ONNX network: {reason}") from error
        self.path = path
        self._read_shapes(output)
        self.preprocessing = self._read_preprocessing()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: [B, 3, H, W] float32.   returns: [B, d] float32."""
        if self.batch is None or len(images) == self.batch:
            return self._run(images)
        parts = []
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            lacking = self.batch - len(part)
            padded = np.concatenate([part, np.zeros((lacking, *part.shape[1:]), part.dtype)])
            parts.append(self._run(padded)[: len(part)])
        return np.concatenate(parts)

    def _run(self, images: np.ndarray) -> np.ndarray:
        output = self.session.run([self.output], {self.input: np.ascontiguousarray(images)})[0]
        embeddings = np.asarray(output, np.float32)
        if embeddings.ndim > 2 and embeddings.size == len(images) * embeddings.shape[1]:
            embeddings = embeddings.reshape(len(images), -1)  # [B, d, 1, 1]
        if embeddings.ndim != 2 or len(embeddings) != len(images):
            raise BadInput(
                f"{self.path}: its output {self.output} is {embeddings.shape}; wanted an embedding "
                f"of each of {len(images)} images, [B, d]"
            )
        return embeddings

    def _read_preprocessing(self) -> Preprocessing | None:
        stated = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        if stated is None:
            return None
        with blaming(Path(self.path), saying=f"its metadata {METADATA} cannot be read"):
            return Preprocessing.of(json.loads(stated))

    def _read_shapes(self, output: str) -> None:
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 else None
        if shape is None or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            described = ", ".join(f"{given.name} {given.shape}" for given in inputs)
            raise BadInput(
                f"{self.path} takes {described}; wanted one input of images, [B, 3, H, W]"
            )
        if inputs[0].type != "tensor(float)":
            raise BadInput(f"{self.path} takes {inputs[0].type}; wanted float32 images")
        names = [given.name for given in outputs]
        if output and output not in names:
            raise BadInput(f"{self.path} has no output {output}; it has {', '.join(names)}")
        self.input, self.output = inputs[0].name, output or names[0]
        self.batch, _, self.height, self.width = (
            size if isinstance(size, int) else None for size in shape
        )
