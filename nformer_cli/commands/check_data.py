"""nformer check-data NAME: compare a data set's files with its published counts."""

import json as json_format

import typer

from .. import options
from ..console import TerminalProgress, out
from ..tables import data_table, findings_table


def command(
    ctx: typer.Context,
    dataset: options.Dataset,
    root: options.Root = options.DEFAULT_ROOT,
    distractors: options.Distractors = None,
    combine_all: options.CombineAll = False,
    camera_pattern: options.CameraPattern = None,
    json: options.Json = False,
) -> None:
    """Check a data set's files before training on them.

    Reads: every file of the data set. Compares its counts with the published ones; finds unreadable
    images, the same content or the same identities in train and in test, and identities that only
    one camera saw. Ends with exit code 1 when there are errors.

    Writes: nothing.

    Example: nformer check-data market1501 --root ~/data
    """
    from pipelines.stages.check_data import check_data

    report = check_data(
        dataset,
        root=root,
        options=options.reader_options(ctx),
        progress=TerminalProgress(),
    )
    if json:
        typer.echo(json_format.dumps(report.as_table(), ensure_ascii=False))
    else:
        if report.splits:
            out.print(data_table(report))
        out.print(findings_table(report))
    if report.errors:
        raise typer.Exit(1)
