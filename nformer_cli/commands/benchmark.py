"""nformer benchmark NAME: measure speed, memory or accuracy on this machine."""

from typing import Annotated

import typer

from ..console import TerminalProgress, out
from ..tables import record_table


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one; none: list them.")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, to see that everything runs.")
    ] = False,
    sets: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="accuracy: embedding files (.npz, .h5) to measure too."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the record that lies beside the benchmark.")
    ] = False,
) -> None:
    """Measure this installation on this machine.

    Reads: nothing; the workloads are made from a seed.

    Writes: a table to stdout; with --record also the benchmark's record, NAME.md beside it.

    Example: nformer benchmark nformer
    """
    from pipelines.benchmarks.registry import BENCHMARKS, measure, record_path
    from pipelines.files import write_text

    if not name:
        for known, about in BENCHMARKS.items():
            out.print(f"[bold]{known}[/]: {about}", highlight=False)
        return
    progress = TerminalProgress()
    found = measure(name, quick=quick, sets=sets, progress=progress)
    out.print(record_table(found, out.width))
    for note in found.notes:
        out.print(note, highlight=False)
    if record:
        path = record_path(name)
        write_text(path, found.markdown(f"nformer benchmark {name}" + (" --quick" * quick)))
        progress.message(f"{path} written")
