"""nformer search IMAGE…"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.errors import BadInput

from .. import options
from ..answers import answer_table
from ..console import TerminalProgress, out


def command(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE…", help="Pictures, folders, or embeddings (.npz, …)."),
    ],
    run: options.Run = options.DEFAULT_RUN,
    top: Annotated[int, typer.Option(min=1, help="Items shown of each query.")] = 10,
    crop: Annotated[
        str, typer.Option(metavar="X,Y,W,H", help="The part of each picture, in pixels.")
    ] = "",
    camid: Annotated[
        int, typer.Option(help="The pictures' camera, as the gallery numbers it; -1: not known.")
    ] = -1,
    threshold: Annotated[
        str,
        typer.Option(
            metavar="auto|NUMBER", help="Similarity before refinement below which nobody is there."
        ),
    ] = "",
    false_accept: Annotated[
        float, typer.Option(help="Share of strangers that --threshold auto accepts.")
    ] = 0.01,
    montage: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the pictures found (.png, .jpg).")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the pictures found.")
    ] = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Find a person in the index with a picture.

    Reads: index.h5, and backbone.pt for pictures.

    Writes: a table to stdout; the montage and the page asked for.

    Example: nformer search me.jpg --run runs/market --top 10 --montage found.png
    """
    from pipelines import Run
    from pipelines.stages.search_images import search_images

    corner = parsed_crop(crop)
    if montage or html:
        from pipelines.reporting.montage import require_endings

        require_endings(montage=montage, html=html)
    progress = TerminalProgress()
    result = search_images(
        Run(run),
        images,
        top=top,
        crop=corner,
        camid=camid,
        threshold=parsed_threshold(threshold),
        false_accepts=false_accept,
        device=device,
        progress=progress,
    )
    from pipelines.reporting.montage import summary, write_montage, write_page

    for path, write in ((montage, write_montage), (html, write_page)):
        if path is not None:
            progress.message(f"{write(result, path, crop=corner)}")
    if json:
        typer.echo(result.to_json())
        return
    for number, answer in enumerate(result.answers):
        if number:
            out.print()
        out.print(answer_table(answer, result))
    spent = ", ".join(f"{step} {seconds:.3f}" for step, seconds in result.seconds.items())
    progress.message(summary(result))
    progress.message(f"seconds: {spent}; together {sum(result.seconds.values()):.2f}")


def parsed_crop(text: str) -> tuple[int, int, int, int] | None:
    """Return `x,y,w,h` as numbers, or None when there is none."""
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
        raise BadInput(f"--crop {text}: wanted x,y,width,height in pixels, as in 10,20,64,128")
    x, y, width, height = map(int, parts)
    return x, y, width, height


def parsed_threshold(text: str) -> float | Literal["auto"] | None:
    """Return a similarity, "auto", or None when there is none."""
    if not text:
        return None
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = 2.0
    if not -1 <= value <= 1:
        raise BadInput(f"--threshold {text}: wanted auto, or a similarity from -1 to 1")
    return value
