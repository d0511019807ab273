"""The paper's tables: what NFormer adds, with re-ranking, with fewer images, on other data sets."""

from collections.abc import Sequence

import numpy as np

from ..evaluation.foresee import foresee, will_it_help
from ..reporting.paper import DATASETS, DUKE, Beside, backbone_of, printed
from ..reporting.plots import Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from .experiment import Experiment
from .flops import counted_flops_a_person, flops_a_person, flops_as_read, search_flops_a_person
from .rows import (
    DEVIATIONS,
    FIGURES,
    Row,
    bars,
    beside,
    compared,
    control_notes,
    control_rows,
    curve,
    distinct_labels,
)
from .variants import ALONE, NFORMER, ORDINARY, Variant

NUMBERS = (20, 15, 10, 5)  # images of an identity on average, in Table 3
COSTS = (
    Column("gflops", "GFLOPs a person", "number"),
    Column("gflops_counted", "torch's count", "number"),
)
PAPERS_COST = Column("paper_gflops", "GFLOPs a person", "number", "paper")
TABLE2 = (Column("run", "run"), Column("backbone", "backbone"), Column("method", "method"))
FREE = (Column("free", "best training-free"), Column("free_mAP", "its mAP", "percent"))
TABLE3 = (
    Column("number", "images wanted", "count"),
    Column("images", "on average", "number"),
    Column("baseline_mAP", "backbone mAP", "percent"),
    Column("mAP", "NFormer mAP", "percent"),
    Column("gain", "difference", "points"),
)
TABLE3_MORE = (
    *DEVIATIONS,
    Column("alone_mAP", "k = 1 mAP", "percent"),
    *FREE,
    Column("own_mAP", "nformer.pt mAP", "percent"),
    Column("foreseen", "gain foreseen", "points"),
)
TABLE4 = (
    Column("run", "run"),
    Column("dataset", "data set"),
    Column("backbone", "backbone"),
    Column("baseline_rank1", "backbone rank-1", "percent"),
    Column("baseline_mAP", "mAP", "percent"),
    Column("rank1", "NFormer rank-1", "percent"),
    FIGURES[1],
    *DEVIATIONS,
    Column("gain", "gain", "points"),
    Column("own_mAP", "nformer.pt mAP", "percent"),
    Column("alone_mAP", "k = 1 mAP", "percent"),
    *FREE,
)
KINDS = {
    "baseline_mAP": "backbone",
    "mAP": "NFormer",
    "alone_mAP": "k = 1",
    "free_mAP": "training-free",
}


def table1(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return what an ordinary transformer and NFormer add to the backbone, and what they cost."""
    experiment = experiments[0]
    paper, costs = beside("table1", experiment), printed("table1")["flops"]
    own = {variant: _cost(experiment, variant) for variant in (ORDINARY, NFORMER)}
    ordinary = {**experiment.measured(ORDINARY), **own[ORDINARY], **paper.cells("transformer")}
    nformer = {**experiment.measured(NFORMER), **own[NFORMER], **paper.cells("NFormer")}
    rows = [
        {"method": "backbone", **experiment.baseline(), **paper.cells("backbone")},
        {"method": "+ ordinary transformer", **ordinary, "paper_gflops": costs["transformer"]},
        {"method": "+ NFormer", **nformer, "paper_gflops": costs["NFormer"]},
        *control_rows(experiment),
    ]
    figures = {row["method"]: 100 * row["mAP"] for row in rows}
    return TableOrFigure(
        name="table1",
        title="Table 1: backbone, ordinary transformer, NFormer",
        columns=(
            *(TABLE2[-1], *FIGURES, *paper.columns("rank1", "mAP")),
            *(COSTS[0], PAPERS_COST, COSTS[1], *DEVIATIONS),
        ),
        rows=rows,
        plots=(bars("mAP, and its deviation over trainings", rows),),
        text="mAP: " + ", ".join(f"{name} {value:.1f} %" for name, value in figures.items()) + ".",
        notes=(paper.note, *control_notes(experiment), _cost_note(experiment, own)),
    )


def _cost(experiment: Experiment, variant: Variant) -> dict[str, float]:
    """Return GFLOPs a person at the test set's size, by formula and by torch's counter."""
    rows, shape = len(experiment.query) + len(experiment.gallery), experiment.shape
    return {
        "gflops": flops_a_person(variant, rows, **shape) / 1e9,
        "gflops_counted": counted_flops_a_person(variant, rows, **shape) / 1e9,
    }


def _cost_note(experiment: Experiment, costs: dict[Variant, dict[str, float]]) -> str:
    """Explain the paper's two figures by ours at the sizes of its test sets."""
    dim, rows = experiment.query.dim, len(experiment.query) + len(experiment.gallery)
    ordinary = flops_a_person(ORDINARY, DUKE, dim=256) / 1e9
    ours, read = (
        count / 1e9
        for count in (flops_a_person(NFORMER, DUKE, dim=256), flops_as_read(DUKE, dim=256))
    )
    search = search_flops_a_person(rows, dim=dim) / 1e9
    apart = max(abs(cost["gflops_counted"] / cost["gflops"] - 1) for cost in costs.values())
    theirs = printed("table1")["flops"]
    return (
        "GFLOPs count a multiplication and an addition as two, for one person of "
        f"{rows:,}, without the search for neighbours ({search:.2g} by comparing with all, once). "
        f"Formula and torch's counter (on the layers written plainly) agree within "
        f"{100 * apart:.1f} %. The paper prints {theirs['transformer']} and {theirs['NFormer']}. "
        f"At DukeMTMC-reID's {DUKE:,} rows of 256 the formula gives {ordinary:.4f} for the "
        f"ordinary transformer and {ours:.4f} for NFormer; without output projections and "
        f"feed-forward networks, NFormer's is {read:.4f}. That the paper left those out for "
        "NFormer alone is our reading: it does not say (nformer manual counting)."
    )


def table2(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return NFormer and k-reciprocal re-ranking together, on one backbone or several."""
    several = len(experiments) > 1
    backbones = [backbone_of(experiment.run) for experiment in experiments]
    rows = []
    for experiment, label in zip(experiments, distinct_labels(backbones, experiments), strict=True):
        for row in _with_reranking(experiment):
            rows.append({**row, "label": f"{label}: {row['method']}" if several else row["method"]})
    note = "With one run there is one backbone; another stands beside it with a second --run."
    papers = [beside("table2", experiment) for experiment in experiments]
    everywhere = Beside("table2", DATASETS[:2], own=False)
    theirs = _papers_table2(everywhere)
    columns = dict.fromkeys(
        one for paper in (*papers, everywhere) for one in paper.columns("rank1", "mAP")
    )
    return TableOrFigure(
        name="table2",
        title="Table 2: NFormer with k-reciprocal re-ranking",
        columns=(*TABLE2, *FIGURES, *columns, *DEVIATIONS),
        rows=[*rows, *theirs],
        plots=(bars("mAP, and its deviation over trainings", rows, label="label"),),
        text="mAP: " + ", ".join(f"{row['label']} {100 * row['mAP']:.1f} %" for row in rows) + ".",
        notes=(
            "KR is k-reciprocal re-ranking (k1 = 20, k2 = 6, weight 0.3), which mixes the queries.",
            *([] if several else [note]),
            *dict.fromkeys(paper.note for paper in papers),
            "Below ours: all rows of the paper's table, of its two data sets.",
            *_backbone_notes(experiments),
            *control_notes(experiments[0]),
        ),
        paper_rows=len(theirs),
    )


def _with_reranking(experiment: Experiment) -> list[Row]:
    paper, backbone = beside("table2", experiment), backbone_of(experiment.run)
    about = {"run": str(experiment.run.folder), "backbone": backbone}
    known = "abdnet" if backbone == "abdnet" else "resnet50"  # the paper's two
    measured = {
        "none": experiment.baseline(),
        "KR": experiment.baseline(rerank="kr"),
        "NFormer": experiment.measured(NFORMER),
        "NFormer + KR": experiment.measured(NFORMER, rerank="kr"),
    }
    own = experiment.own(rerank="kr")
    return [
        *(
            {"method": method, **figures, **about, **paper.cells(f"{known}: {method}")}
            for method, figures in measured.items()
        ),
        *control_rows(experiment, **about),
        *([{"method": "this run's nformer.pt + KR", **own, **about}] if own else []),
    ]


def _papers_table2(paper: Beside) -> list[Row]:
    """Return the rows of the paper's Table 2, each with its figures on both data sets."""
    rows = []
    for name in printed("table2")[DATASETS[0]]:
        known, _, method = name.partition(": ")
        rows.append({"run": "paper", "backbone": known, "method": method, **paper.cells(name)})
    return rows


def _backbone_notes(experiments: Sequence[Experiment]) -> list[str]:
    """Say of which backbone the paper's figures are, where a run has another."""
    others = sorted({backbone_of(one.run) for one in experiments} - {"abdnet", "resnet50"})
    return (
        [f"The paper's figures are of its ResNet-50; backbone here: {', '.join(others)}."]
        if others
        else []
    )


def table3(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return how much NFormer brings with 20, 15, 10 and 5 images of each identity."""
    experiment = experiments[0]
    paper = beside("table3", experiment)
    rows = [{**_with_images(experiment, number), **paper.cells(number)} for number in NUMBERS]
    gains = {f"{row['images']:.3g}": row["gain"] for row in rows}
    kinds = KINDS | {"free_mAP": "best training-free", "own_mAP": "this run's nformer.pt"}
    curves = [
        curve(title, rows, x="images", y=key, error="mAP_over_seeds" if key == "mAP" else "")
        for key, title in kinds.items()
        if rows[0][key] is not None
    ]
    plot = Plot(
        title="mAP by images of an identity",
        x="gallery images of an identity, on average", y="mAP in %", curves=curves,
    )  # fmt: skip
    return TableOrFigure(
        name="table3",
        title="Table 3: images of each identity",
        columns=TABLE3 + paper.columns("baseline_mAP", "mAP", "gain") + TABLE3_MORE,
        rows=rows,
        plots=(plot,),
        text="Difference that NFormer makes to mAP: "
        + ", ".join(f"{100 * gain:+z.1f} with {images} images" for images, gain in gains.items())
        + ".",
        notes=(
            "As many gallery images are drawn, for every training anew, as give the identities so "
            "many on average, as nformer subsample draws them: each identity keeps the same share "
            "of its own, and one at least. Queries and distractors are not drawn.",
            paper.note,
            "“gain foreseen” is that of mutual neighbours averaged on held-out training "
            "identities with as many gallery images of each (nformer evaluate --will-it-help).",
            will_it_help(experiment.run).describe(),
            *control_notes(experiment),
        ),
    )


def _with_images(experiment: Experiment, number: int) -> Row:
    gallery = experiment.subset((number, 0))
    people = gallery.pids[experiment.of_people(gallery.pids)]
    images = float(np.mean(np.unique(people, return_counts=True)[1]))
    foreseen = experiment.cached(
        lambda: foresee(
            experiment.train, experiment.query, gallery=gallery, images=images
        ).figures(),
        "gain foreseen",
        number,
    )
    before, after = experiment.baseline(number=number), experiment.measured(NFORMER, number=number)
    return {
        "number": number,
        "images": images,
        **compared(before, after),
        **_others(experiment, number),
        "foreseen": foreseen.get("foreseen"),
    }


def _others(experiment: Experiment, number: int = 0) -> Row:
    """Return the cells of NFormer with k = 1, of the best refiner, and of the run's own model."""
    free, figures = experiment.training_free(number=number)
    own = experiment.own(number=number)
    return {
        "alone_mAP": experiment.measured(ALONE, number=number)["mAP"],
        "free": free,
        "free_mAP": figures["mAP"],
        "own_mAP": own["mAP"] if own else None,
    }


def table4(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return each run's data set and backbone, without NFormer and with it."""
    rows = [_with_and_without(experiment) for experiment in experiments]
    labels = distinct_labels([f"{row['dataset']}, {row['backbone']}" for row in rows], experiments)
    papers = Beside("table4", DATASETS, own=False)
    theirs = _papers_rows(papers)
    several = len(rows) > 1
    measured = [
        {
            "method": f"{label}: {kind}" if several else kind,
            "mAP": row[key],
            "mAP_over_seeds": row["mAP_over_seeds"] if key == "mAP" else None,
        }
        for row, label in zip(rows, labels, strict=True)
        for key, kind in KINDS.items()
    ]
    return TableOrFigure(
        name="table4",
        title="Table 4: data sets and backbones",
        columns=TABLE4 + papers.columns("rank1", "mAP"),
        rows=[*rows, *theirs],
        plots=(bars("mAP" if several else f"mAP, {labels[0]}", measured),),
        text=" ".join(
            f"{label}: mAP {100 * row['baseline_mAP']:.1f} % without NFormer, "
            f"{100 * row['mAP']:.1f} % with it."
            for label, row in zip(labels, rows, strict=True)
        ),
        notes=(
            f"Below ours: all rows of the paper's table. {printed('table4')['note']}",
            *_backbone_notes(experiments),
            *control_notes(experiments[0]),
        ),
        paper_rows=len(theirs),
    )


def _papers_rows(paper: Beside) -> list[Row]:
    """Return the rows of the paper's Table 4, each with its figures on every data set."""
    venues = printed("table4")["venues"]
    reproduced = printed("table4")["reproduced"]

    def about(method: str) -> str:
        told = [venues[method]] if method in venues else []
        told += ["reproduced by its authors"] if method in reproduced else []
        return f" ({', '.join(told)})" if told else ""

    methods = dict.fromkeys(row for dataset in DATASETS for row in printed("table4")[dataset])
    return [
        {
            "run": f"paper{about(method)}",
            "backbone": method,
            **paper.cells(method),
        }
        for method in methods
    ]


def _with_and_without(experiment: Experiment) -> Row:
    before, after = experiment.baseline(), experiment.measured(NFORMER)
    return {
        "run": str(experiment.run.folder),
        "dataset": experiment.title,
        "backbone": backbone_of(experiment.run),
        "baseline_rank1": before["rank1"],
        **compared(before, after),
        **_others(experiment),
    }
