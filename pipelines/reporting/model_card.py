"""A model card: what an exported backbone is, how it was trained, what it reached and its use."""

from collections.abc import Sequence
from typing import Any

from ..artifacts.manifest import Manifest
from ..artifacts.results import Evaluation
from ..artifacts.run import Run
from ..data.catalogue import title_of
from ..preprocessing import Preprocessing

# The front matter that the Hugging Face Hub reads.
FRONT = """---
library_name: nformer
pipeline_tag: image-feature-extraction
tags:
- re-identification
- {format}
---
"""
USES = {
    "onnx": ("nformer index --pictures FOLDER --onnx {file}", "Any program that runs ONNX."),
    "safetensors": ("nformer index --pictures FOLDER --weights {file}", ""),
    "torchscript": ("", "In a program: `torch.jit.load({file!r})`."),
}
# Settings of training that a reader asks for, by what they mean.
TRAINING = {
    "epochs": "epochs",
    "batch": "images a batch",
    "instances": "images of each identity in a batch",
    "optimizer": "optimizer",
    "lr": "learning rate",
    "seed": "seed",
}


def model_card(run: Run, exported: Manifest, *, format: str, file: str) -> str:
    """Return the card of a run's exported backbone as Markdown, from the run's manifests.

    exported: the manifest of the exported file.   file: what the reader will call it.
    """
    trained = run.require_manifest("backbone.pt")
    facts, settings = trained.facts, trained.config
    title = title_of(facts)
    wants = Preprocessing(height=exported.facts["height"], width=exported.facts["width"])
    mean, std = (", ".join(map(str, values)) for values in (wants.mean, wants.std))
    network = {
        "architecture": settings["arch"],
        "embedding": f"{exported.facts['dim']} numbers, compared by cosine",
        "images": f"{wants.shape}, RGB from 0 to {wants.scale}, less {mean}, divided by {std}",
        "largest difference from PyTorch": f"{exported.facts['maximum_difference']:.2g}",
        "SHA-256": exported.sha256,
    }
    counts = facts.get("images", {})
    images = {"images": f"{counts['train']:,}"} if "train" in counts else {}
    begun = str(settings.get("weights", "")).rpartition("/")[2]
    training = {
        "data set": title,
        **images,
        "identities": f"{facts['classes']:,}",
        "first weights": begun,
        **{name: settings[key] for key, name in TRAINING.items() if key in settings},
    }
    command, program = USES[format]
    parts = [
        FRONT.format(format=format),
        f"# {settings['arch']} for re-identification, trained on {title}\n",
        "From a picture of a person or object to an embedding: pictures of one identity lie near "
        "each other.\n",
        _table(("network", ""), list(network.items())),
        "## Training\n",
        _table(("", ""), list(training.items())),
        *_results(run),
        "## Use\n",
        f"    {command.format(file=file)}\n    nformer search PICTURE\n" if command else "",
        f"{program.format(file=file)}\n" if program else "",
        "The licence of the training images and of the first weights is not known to this card.",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _results(run: Run) -> list[str]:
    """Return the figures of the run's evaluation, where there is one of this backbone."""
    if run.manifest("metrics.json") is None or run.changed_inputs("metrics.json"):
        return []
    found = Evaluation.from_json(run.path("metrics.json").read_text(encoding="utf-8"))
    rows = [
        (row.label, row.protocol, f"{100 * row.mAP:.1f}", f"{100 * row.rank1:.1f}")
        for row in found.results
    ]
    return [
        "## Results\n",
        f"In %, {found.queries:,} queries, {found.gallery:,} gallery items, seed {found.seed}. "
        "`baseline` is this network alone; the other rows refine or re-rank its embeddings.\n",
        _table(("row", "protocol", "mAP", "rank-1"), rows),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"
