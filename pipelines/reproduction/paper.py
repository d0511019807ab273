"""The figures that the paper reports, and whether a run is of the paper's data set."""

from typing import NamedTuple

from ..artifacts.run import Run
from ..data.catalogue import ENTRIES
from .experiment import Experiment

SOURCE = "Wang et al., CVPR 2022, Table 4"


class Published(NamedTuple):
    """Rank-1 and mAP of the backbone alone, and with NFormer, as fractions of 1."""

    rank1: float
    mean_ap: float
    nformer_rank1: float
    nformer_mean_ap: float

    def beside(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the cells beside ours: of the backbone alone, and with NFormer."""
        alone = {"paper_rank1": self.rank1, "paper_mAP": self.mean_ap}
        return alone, {"paper_rank1": self.nformer_rank1, "paper_mAP": self.nformer_mean_ap}


def _of(*per_cent: float) -> Published:
    return Published(*(round(value / 100, 4) for value in per_cent))


TABLE4 = {
    ("market1501", "resnet50"): _of(93.2, 83.5, 94.7, 91.1),
    ("dukemtmcreid", "resnet50"): _of(86.1, 76.1, 89.4, 83.5),
    ("msmt17", "resnet50"): _of(74.9, 50.1, 77.3, 59.8),
    ("cuhk03-labelled", "resnet50"): _of(74.7, 73.8, 77.2, 78.0),
    ("cuhk03-detected", "resnet50"): _of(73.4, 71.2, 77.3, 74.7),
    ("market1501", "abdnet"): _of(95.4, 88.2, 95.7, 93.0),
    ("dukemtmcreid", "abdnet"): _of(88.7, 78.6, 90.6, 85.7),
    ("msmt17", "abdnet"): _of(78.4, 55.5, 80.8, 62.2),
    ("cuhk03-labelled", "abdnet"): _of(78.7, 75.8, 80.6, 79.1),
    ("cuhk03-detected", "abdnet"): _of(77.3, 73.2, 79.0, 76.4),
}
TRANSFORMER_GFLOPS, NFORMER_GFLOPS = 0.088, 0.0025  # a person, Table 1
MARKET = 19_281  # query and gallery of Market-1501, the set of Table 1


def backbone_of(run: Run) -> str:
    """Return the network that made a run's embeddings, or "imported"."""
    manifest = run.manifest("backbone.pt")
    embeddings = run.manifest("embeddings.h5")
    if manifest is None or embeddings is None or "backbone.pt" not in embeddings.inputs:
        return "imported"
    return str(manifest.config.get("arch", "unknown"))


def is_the_papers(dataset: str, queries: int) -> bool:
    """Return whether a test set is the paper's: by its name, and by its number of queries."""
    entry = next((one for one in ENTRIES if one.name == dataset), None)
    return entry is not None and bool(entry.counts) and entry.counts["query"].images == queries


def published_for(experiment: Experiment) -> Published | None:
    """Return the paper's figures for a run; ResNet-50's where the backbone is unlike the paper's.

    None where the data set is not one of the paper's, or not all of it.
    """
    dataset = experiment.dataset
    if not is_the_papers(dataset, len(experiment.query)):
        return None
    own = TABLE4.get((dataset, backbone_of(experiment.run)))
    return own or TABLE4.get((dataset, "resnet50"))


def paper_note(experiment: Experiment) -> str:
    """Return in a sentence what stands beside ours, or why nothing does."""
    dataset, backbone = experiment.dataset, backbone_of(experiment.run)
    if published_for(experiment) is None:
        named = any(entry.name == dataset and entry.counts for entry in ENTRIES)
        why = (
            f"these {len(experiment.query):,} queries are not {dataset}'s" if named
            else f"{dataset or 'this data set'} is not in the paper"
        )  # fmt: skip
        return f"The paper's own figures are left out: {why}."
    note = f"Beside ours: the paper's figures ({SOURCE})."
    if (dataset, backbone) in TABLE4:
        return note
    return f"{note} They are of ResNet-50; this run's backbone is {backbone}."
