"""Train variants on runs' embeddings, and make the paper's tables and figures from them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..artifacts.lock import alone_in
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run, require_different
from ..errors import PipelineError
from ..files import write_text
from ..flow import command_line
from ..progress import Progress, Silent
from ..reporting.plots import save_pictures
from ..reporting.tables_and_figures import FOLDER, TableOrFigure, file_of
from . import equation5, figure4, figure5, figure6, figure7, learning_curve, tables
from .experiment import Experiment, lies_whole
from .figure5 import CannotShow, require_tsne, sampled
from .plan import make_plan
from .variants import SEVERAL_RUNS, ReproduceConfig, chosen

MAKERS: dict[str, Callable[[Sequence[Experiment]], TableOrFigure]] = {
    "table1": tables.table1,
    "table2": tables.table2,
    "table3": tables.table3,
    "table4": tables.table4,
    "figure4": figure4.make,
    "figure5": figure5.make,
    "figure6": figure6.make,
    "figure7": figure7.make,
    "equation5": equation5.make,
    "learning_curve": learning_curve.make,
}


def reproduce(
    runs: "Run | str | Path | Sequence[Run | str | Path]",
    names: str | Iterable[str] = "all",
    *,
    seeds: int = ReproduceConfig.seeds,
    draws: int = ReproduceConfig.draws,
    steps: int = ReproduceConfig.steps,
    recipe: str = ReproduceConfig.recipe,
    device: str = "auto",
    progress: Progress = Silent(),
) -> list[TableOrFigure]:
    """Make the paper's tables and figures again from runs' embeddings.

    runs:  one or several; tables 2 and 4 have rows of each, all else is of the first.
    names: table1 to table4, figure4 to figure7, equation5, learning_curve, or "all" (but that one).
    seeds: trainings of each variant.   draws: of the landmarks.
    steps: of each training; 0: as the recipe has it.
    recipe: by whose settings variants are trained; "": by those of the run's own nformer.pt.

    What was trained and measured before is not made again. Each result lies in the first run's
    folder `reproduce` as NAME.json, .csv, .svg and .png, and in its report.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5, with the command for it.
        BadInput: an unknown name or recipe, no training identities, no query or gallery; figure5
            alone without scikit-learn, or with fewer than two identities to show.
    """
    wanted = chosen([names] if isinstance(names, str) else list(names))
    wanted = _without_figure5(wanted, require_tsne, progress=progress)
    settings = ReproduceConfig(seeds=seeds, draws=draws, steps=steps, recipe=recipe)
    given = [runs] if isinstance(runs, Run | str | Path) else list(runs)
    folders = [one if isinstance(one, Run) else Run(one) for one in given]
    require_different(folders)

    def made() -> list[TableOrFigure]:
        experiments = [
            Experiment(run, settings, device=device, progress=progress) for run in folders
        ]
        return _made(experiments, wanted, progress=progress)

    return alone_in(
        [run.folder for run in folders], made, purpose="nformer reproduce", warn=progress.warn
    )


def _made(
    experiments: Sequence[Experiment], wanted: list[str], *, progress: Progress
) -> list[TableOrFigure]:
    """Train what is missing, measure, and write each table and figure."""
    wanted = _without_figure5(wanted, lambda: sampled(experiments[0]), progress=progress)
    for experiment in experiments:
        _ = experiment.own_model  # one that cannot be read is found before anything is trained
    plan = make_plan(experiments, wanted, progress=progress)
    for line in plan.lines():
        progress.message(line)
    if plan.missing:
        with progress.task("train variants", len(plan.missing), unit="trainings") as task:
            for one in plan.missing:
                one.experiment.model(one.variant, one.seed)
                task.advance(latest=f"{one.variant.name}, seed {one.seed}")
    items = []
    with progress.task("measure", len(wanted), unit="tables and figures") as task:
        for name in wanted:
            items.append(_kept(experiments, MAKERS[name](experiments)))
            task.advance()
    _report(experiments[0].run, progress)
    return items


def _kept(experiments: Sequence[Experiment], item: TableOrFigure) -> TableOrFigure:
    """Write a table or figure into the first run, its pictures first and its manifest last."""
    run, settings = experiments[0].run, asdict(experiments[0].settings)
    others = [str(other.run.folder) for other in experiments[1:]]
    config = {name: settings[name] for name in ("seeds", "draws", "steps", "recipe")}
    config["other_runs"] = others if item.name in SEVERAL_RUNS else []
    inputs = {"embeddings.h5": experiments[0].digest}
    wanted = Manifest(file_of(item.name), "reproduce", config, inputs)
    path, text = run.path(wanted.artifact), item.to_json() + "\n"
    pictured = all(path.with_suffix(end).exists() for end in (".csv", ".svg", ".png"))
    if pictured and lies_whole(run, wanted) and path.read_text(encoding="utf-8") == text:
        return item
    run.claim()
    folder = run.path(FOLDER)
    write_text(folder / f"{item.name}.csv", item.to_csv())
    save_pictures(folder, item.name, plots=item.plots)
    with run.writing(wanted) as (path, _):
        path.write_text(text, encoding="utf-8")
    return item


def _report(run: Run, progress: Progress) -> None:
    """Make the run's report again, where it has been evaluated."""
    from ..stages.report import report

    try:
        page = report(run, progress=progress)
    except PipelineError:  # not evaluated yet, or of other embeddings
        progress.message(
            f"{run.path(FOLDER)} has the files; {command_line('evaluate', run=run.folder)} makes "
            "the report, which shows them"
        )
        return
    progress.message(f"{page}; open it in a browser")


def _without_figure5(
    wanted: list[str], check: Callable[[], object], *, progress: Progress
) -> list[str]:
    """Leave figure5 out where a check says that it cannot be made, with a word; alone it fails."""
    if "figure5" not in wanted:
        return wanted
    try:
        check()
    except CannotShow as error:
        if len(wanted) == 1:
            raise
        progress.warn(f"left out: {error}")
        return [name for name in wanted if name != "figure5"]
    return wanted
