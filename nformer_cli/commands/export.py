"""nformer export: write the backbone as ONNX or TorchScript."""

from typing import Annotated, Any

import typer

from .. import options
from ..console import TerminalProgress


def command(
    run: options.Run = options.DEFAULT_RUN,
    format: Annotated[
        str, typer.Option("--format", metavar="onnx|torchscript", help="The file's format.")
    ] = "onnx",
    overwrite: options.Overwrite = False,
) -> None:
    """Write the backbone for other programs to run.

    Reads: backbone.pt.

    Writes: backbone.onnx or backbone.torchscript in the run's folder, after comparing its
    embeddings with torch's: the largest difference is printed.

    Example: nformer export --format onnx --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.export import export

    progress = TerminalProgress()
    wanted: Any = format
    path = export(Run(run), format=wanted, overwrite=overwrite, progress=progress)
    following = f"nformer extract --onnx {path} --dataset NAME --root DIR"
    if format == "torchscript":
        following = f"torch.jit.load({str(path)!r}) in a program of your own"
    progress.message(f"{path}; next: {following}")
