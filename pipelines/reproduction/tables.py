"""The paper's tables: what NFormer adds, with re-ranking, with fewer images, on other data sets."""

from collections.abc import Sequence

import numpy as np

from ..evaluation.foresee import foresee
from ..reporting.plots import Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from .experiment import Experiment
from .flops import counted_flops_a_person, flops_a_person, search_flops_a_person
from .paper import (
    MARKET,
    NFORMER_GFLOPS,
    TRANSFORMER_GFLOPS,
    backbone_of,
    is_the_papers,
    paper_note,
    published_for,
)
from .rows import FIGURES, Row, bars, compared, control_notes, control_rows, curve, distinct_labels
from .variants import ALONE, NFORMER, ORDINARY, Variant

NUMBERS = (20, 15, 10, 5)  # images of an identity, in Table 3
PAPERS = (
    Column("paper_rank1", "paper rank-1", "percent"),
    Column("paper_mAP", "paper mAP", "percent"),
)
COSTS = (
    Column("gflops", "GFLOPs a person", "number"),
    Column("gflops_counted", "torch's count", "number"),
)
PAPERS_COST = Column("paper_gflops", "paper GFLOPs", "number")
TABLE2 = (Column("run", "run"), Column("backbone", "backbone"), Column("method", "method"))
FREE = (Column("free", "best training-free"), Column("free_mAP", "its mAP", "percent"))
TABLE3 = (
    Column("number", "images at most", "count"),
    Column("images", "on average", "number"),
    Column("baseline_mAP", "backbone mAP", "percent"),
    Column("mAP", "NFormer mAP", "percent"),
    *FIGURES[2:],
    Column("gain", "difference", "points"),
    Column("alone_mAP", "k = 1 mAP", "percent"),
    *FREE,
    Column("own_mAP", "nformer.pt mAP", "percent"),
    Column("estimated", "images estimated", "number"),
    Column("foreseen", "gain foreseen", "points"),
)
TABLE4 = (
    Column("run", "run"),
    Column("dataset", "data set"),
    Column("backbone", "backbone"),
    Column("baseline_rank1", "backbone rank-1", "percent"),
    Column("baseline_mAP", "mAP", "percent"),
    Column("rank1", "NFormer rank-1", "percent"),
    *FIGURES[1:],
    Column("gain", "gain", "points"),
    Column("own_mAP", "nformer.pt mAP", "percent"),
    Column("alone_mAP", "k = 1 mAP", "percent"),
    *FREE,
)
PAPERS_TABLE4 = (
    Column("paper_baseline_rank1", "paper: backbone rank-1", "percent"),
    Column("paper_baseline_mAP", "mAP", "percent"),
    Column("paper_rank1", "NFormer rank-1", "percent"),
    Column("paper_mAP", "mAP", "percent"),
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
    published = published_for(experiment)
    beside: list[Row] = [{}, {}, {}]
    if published:
        beside[0], beside[2] = published.beside()
    if published and is_the_papers("market1501", len(experiment.query)):
        beside[1]["paper_gflops"] = TRANSFORMER_GFLOPS
        beside[2]["paper_gflops"] = NFORMER_GFLOPS
    costs = {variant: _cost(experiment, variant) for variant in (ORDINARY, NFORMER)}
    ordinary = {**experiment.measured(ORDINARY), **costs[ORDINARY], **beside[1]}
    nformer = {**experiment.measured(NFORMER), **costs[NFORMER], **beside[2]}
    rows = [
        {"method": "backbone", **experiment.baseline(), **beside[0]},
        {"method": "+ ordinary transformer", **ordinary},
        {"method": "+ NFormer", **nformer},
        *control_rows(experiment),
    ]
    figures = {row["method"]: 100 * row["mAP"] for row in rows}
    return TableOrFigure(
        name="table1",
        title="Table 1: backbone, ordinary transformer, NFormer",
        columns=(TABLE2[-1], *FIGURES, *COSTS, *((*PAPERS, PAPERS_COST) if published else ())),
        rows=rows,
        plots=(bars("mAP, and its deviation over trainings", rows),),
        text="mAP: " + ", ".join(f"{name} {value:.1f} %" for name, value in figures.items()) + ".",
        notes=(paper_note(experiment), *control_notes(experiment), _cost_note(experiment, costs)),
    )


def _cost(experiment: Experiment, variant: Variant) -> dict[str, float]:
    """Return GFLOPs a person at the test set's size, by formula and by torch's counter."""
    rows, dim = len(experiment.query) + len(experiment.gallery), experiment.query.dim
    return {
        "gflops": flops_a_person(variant, rows, dim=dim) / 1e9,
        "gflops_counted": counted_flops_a_person(variant, rows, dim=dim) / 1e9,
    }


def _cost_note(experiment: Experiment, costs: dict[Variant, dict[str, float]]) -> str:
    """Explain the paper's two figures by ours at the size of its test set."""
    dim, rows = experiment.query.dim, len(experiment.query) + len(experiment.gallery)
    ordinary, ours = (
        flops_a_person(variant, MARKET, dim=256) / 1e9 for variant in (ORDINARY, NFORMER)
    )
    search = search_flops_a_person(rows, dim=dim) / 1e9
    apart = max(abs(cost["gflops_counted"] / cost["gflops"] - 1) for cost in costs.values())
    return (
        "GFLOPs count a multiplication and an addition as two, for one person of "
        f"{rows:,}, without the search for neighbours ({search:.2g} by comparing with all, once). "
        f"Formula and torch's counter (on the layers written plainly) agree within "
        f"{100 * apart:.1f} %. The paper's {TRANSFORMER_GFLOPS} against {NFORMER_GFLOPS}: at "
        f"Market-1501's {MARKET:,} rows of 256 the formula gives {ordinary:.3f} for the ordinary "
        f"transformer, as the paper has, and {ours:.4f} for NFormer, twice the paper's; counted as "
        f"one operation it is {ours / 2:.4f}. So the two seem to be counted differently, and the "
        f"ratio is {ordinary / ours:.0f}, not {TRANSFORMER_GFLOPS / NFORMER_GFLOPS:.0f}. Nearly "
        "all of NFormer's is the projections and the feed-forward network, which both have."
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
    papers = PAPERS if any("paper_mAP" in row for row in rows) else ()
    return TableOrFigure(
        name="table2",
        title="Table 2: NFormer with k-reciprocal re-ranking",
        columns=(*TABLE2, *FIGURES, *papers),
        rows=rows,
        plots=(bars("mAP, and its deviation over trainings", rows, label="label"),),
        text="mAP: " + ", ".join(f"{row['label']} {100 * row['mAP']:.1f} %" for row in rows) + ".",
        notes=(
            "KR is k-reciprocal re-ranking (k1 = 20, k2 = 6, weight 0.3), which mixes the queries.",
            *([] if several else [note]),
            *dict.fromkeys(map(paper_note, experiments)),
            "The paper's own figures with KR could not be checked and are left out.",
            *control_notes(experiments[0]),
        ),
    )


def _with_reranking(experiment: Experiment) -> list[Row]:
    about = {"run": str(experiment.run.folder), "backbone": backbone_of(experiment.run)}
    own, published = experiment.own(rerank="kr"), published_for(experiment)
    alone, refined = published.beside() if published else ({}, {})
    return [
        {"method": "none", **experiment.baseline(), **about, **alone},
        {"method": "KR", **experiment.baseline(rerank="kr"), **about},
        {"method": "NFormer", **experiment.measured(NFORMER), **about, **refined},
        {"method": "NFormer + KR", **experiment.measured(NFORMER, rerank="kr"), **about},
        *control_rows(experiment, **about),
        *([{"method": "this run's nformer.pt + KR", **own, **about}] if own else []),
    ]


def table3(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return how much NFormer brings with 20, 15, 10 and 5 images of each identity."""
    experiment = experiments[0]
    rows = [_with_images(experiment, number) for number in NUMBERS]
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
        columns=TABLE3,
        rows=rows,
        plots=(plot,),
        text="Difference that NFormer makes to mAP: "
        + ", ".join(f"{100 * gain:+.1f} with {images} images" for images, gain in gains.items())
        + ".",
        notes=(
            "Gallery images of each identity are drawn, for every training anew, as nformer "
            "subsample draws them; an identity that has fewer keeps all. Queries are not drawn.",
            foresee(experiment.train, experiment.query, gallery=experiment.gallery).describe(),
            "“images estimated” and “gain foreseen” use no label of the test set (nformer evaluate "
            "--will-it-help). The paper's own figures could not be checked and are left out.",
            *control_notes(experiment),
        ),
    )


def _with_images(experiment: Experiment, number: int) -> Row:
    gallery = experiment.subset((number, 0))
    people = gallery.pids[experiment.of_people(gallery.pids)]
    foreseen = experiment.cached(
        lambda: foresee(experiment.train, experiment.query, gallery=gallery).figures(),
        "foreseen",
        number,
    )
    before, after = experiment.baseline(number=number), experiment.measured(NFORMER, number=number)
    return {
        "number": number,
        "images": float(np.mean(np.unique(people, return_counts=True)[1])),
        **compared(before, after),
        **_others(experiment, number),
        **foreseen,
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
    papers = PAPERS_TABLE4 if any("paper_mAP" in row for row in rows) else ()
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
        columns=TABLE4 + papers,
        rows=rows,
        plots=(bars("mAP" if several else f"mAP, {labels[0]}", measured),),
        text=" ".join(
            f"{label}: mAP {100 * row['baseline_mAP']:.1f} % without NFormer, "
            f"{100 * row['mAP']:.1f} % with it."
            for label, row in zip(labels, rows, strict=True)
        ),
        notes=(*dict.fromkeys(map(paper_note, experiments)), *control_notes(experiments[0])),
    )


def _with_and_without(experiment: Experiment) -> Row:
    before, after = experiment.baseline(), experiment.measured(NFORMER)
    published = published_for(experiment)
    keys = [column.key for column in PAPERS_TABLE4]
    return {
        "run": str(experiment.run.folder),
        "dataset": experiment.dataset or "embeddings",
        "backbone": backbone_of(experiment.run),
        "baseline_rank1": before["rank1"],
        **compared(before, after),
        **_others(experiment),
        **(dict(zip(keys, published, strict=True)) if published else {}),
    }
