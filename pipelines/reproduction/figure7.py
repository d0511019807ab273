"""Figure 7: how many neighbours to keep: RNS, top-k alone (RNS-Mk), and softmax."""

from collections.abc import Sequence

from ..reporting.plots import Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from .experiment import Experiment
from .rows import DEVIATIONS, FIGURES, Row, beside, curve
from .variants import ALONE, KS, SOFTMAX, Variant

TITLES = {"reciprocal": "RNS", "topk": "RNS-Mk (top-k, not reciprocal)"}
COLUMNS = (
    Column("method", "softmax over"),
    Column("k", "k", "count"),
    *FIGURES,
    Column("gain", "over softmax", "points"),
)


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the figure of the first run."""
    experiment, paper = experiments[0], beside("figure7", experiments[0])
    alone = {"method": "k = 1: a row's own edge", **experiment.measured(ALONE), "k": 1}
    by_mask: dict[str, list[Row]] = {mask: [alone] for mask in TITLES}
    for mask, rows in by_mask.items():
        for k in KS:
            variant = Variant(mask=mask, neighbours=k)  # type: ignore[arg-type]  # one of Mask
            rows.append({"method": TITLES[mask], **experiment.measured(variant), "k": k})
    softmax: Row = {"method": "all rows (softmax)", **experiment.measured(SOFTMAX)}
    backbone: Row = {"method": "backbone", **experiment.baseline()}
    rows = [*by_mask["reciprocal"], *by_mask["topk"][1:], softmax, backbone]
    for row in rows[:-2]:
        row["gain"] = row["mAP"] - softmax["mAP"]
        if row["method"] == TITLES["reciprocal"]:
            row |= paper.cells(row["k"])
    best = max(by_mask["reciprocal"], key=lambda row: row["mAP"])
    curves = [curve(TITLES[mask], measured, x="k") for mask, measured in by_mask.items()]
    plot = Plot(
        title="mAP by neighbours", x="neighbours k, the row itself among them", y="mAP in %",
        curves=curves, log="x",
        levels={row["method"]: 100 * row["mAP"] for row in (softmax, backbone)}
        | paper.levels(20, "RNS, k = 20"),
    )  # fmt: skip
    return TableOrFigure(
        name="figure7",
        title="Figure 7: neighbours k",
        columns=COLUMNS + paper.columns("mAP", "gain") + DEVIATIONS,
        rows=rows,
        plots=(plot,),
        text=f"RNS is best with k = {best['k']}: mAP {100 * best['mAP']:.1f} %; softmax over all "
        f"rows {100 * softmax['mAP']:.1f} %, the backbone {100 * backbone['mAP']:.1f} %.",
        notes=(
            f"{_above(by_mask)} {paper.note}",
            "Each point was trained and tested with its own mask and k. The best k is read off the "
            "test set here; train-nformer chooses one on held-out training identities.",
        ),
    )


def _above(by_mask: dict[str, list[Row]]) -> str:
    """Say at which k RNS is above RNS-Mk here, as the paper has it at every k."""
    pairs = zip(by_mask["reciprocal"][1:], by_mask["topk"][1:], strict=True)
    above = [str(rns["k"]) for rns, topk in pairs if rns["mAP"] > topk["mAP"]]
    if len(above) == len(KS):
        return "RNS is above RNS-Mk at every k here."
    return (
        f"RNS is above RNS-Mk here at k = {', '.join(above)} only."
        if above
        else ("RNS is above RNS-Mk at no k here.")
    )
