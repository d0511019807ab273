"""A made-up set, models of every kind, and what refining in parts makes of them."""

import numpy as np
import torch
from helpers.dense import rows_of, sharp, sharp_model

from pipelines.artifacts.nformer import save_nformer
from pipelines.distributed.gallery_steps import ModelFile
from pipelines.distributed.items import Place
from pipelines.distributed.refinement import refine_in_parts
from pipelines.distributed.workers import ThisProcess
from pipelines.embeddings import Embeddings
from pipelines.nformer.model import NFormer
from pipelines.nformer.on_closed_form import NFormerOnClosedForm
from pipelines.progress import Silent
from pipelines.refiners.closed_form import ClosedForm

WIDTH, CAMERAS = 16, 4


def people(rows, seed):
    """Bundles of about six rows; cameras 0 to 3, and some rows of which none is known."""
    camids = np.random.default_rng(seed).integers(-1, CAMERAS, rows)
    return Embeddings(rows_of(rows, WIDTH, seed=seed), np.arange(rows) % (rows // 6), camids)


GALLERY, QUERY = people(400, 1), people(30, 2)
CLOSED_FORMS = {
    "baseline": {},
    "all": {"centre": "global", "neighbours": 6, "sharpness": 2.5},
    # Plain sums make equal rows of those that all list each other: ties.
    "per camera": {
        "centre": "camera",
        "neighbours": 3,
        "per_camera": True,
        "sharpness": 1.0,
        "layers": 2,
    },
    "gate": {"centre": "camera", "neighbours": 5, "sharpness": 2.5, "layers": 2, "gate": True},
    "gate alone": {"centre": "global", "gate": True},
}


def on_closed_form(*, share, **settings):
    torch.manual_seed(3)
    form = ClosedForm(dim=WIDTH, cameras=2, **settings)
    form.cameras.copy_(torch.arange(2))
    form.camera_means.normal_(std=0.1)
    form.metric.normal_().add_(3 * torch.eye(WIDTH))
    if form.gate is not None:  # weights that differ widely from edge to edge
        form.gate.layers[0].weight.data.mul_(5)
    learned = sharp(NFormer(dim=WIDTH, classes=4, layers=2, neighbours=4, landmarks=3))
    return NFormerOnClosedForm.joined(form, learned if share else None, share=share)


MODELS = {
    "NFormer": lambda: sharp_model(WIDTH),
    "NFormer, top-k": lambda: sharp_model(WIDTH, mask="topk", affinity="exact"),
    "NFormer, k above the set": lambda: sharp_model(WIDTH, neighbours=500),
    **{
        name: lambda name=name: on_closed_form(share=0.0, **CLOSED_FORMS[name])
        for name in CLOSED_FORMS
    },
    **{
        f"{name}, NFormer": lambda name=name: on_closed_form(share=0.7, **CLOSED_FORMS[name])
        for name in ("per camera", "gate")
    },
}


def place_in(folder, model, *, shards, workers=None):
    """Return a place in a folder that the model is written to."""
    folder.mkdir(exist_ok=True)
    path = folder / "nformer.pt"
    save_nformer(path, model)
    file = ModelFile(path, model.neighbours)
    return Place(workers or ThisProcess(), folder / "parts", file, Silent(), shards=shards)


def in_parts(model, folder, *, place=None, shards=4, workers=None, seeds=(5,), **others):
    """Return what refining the made-up set in parts makes of it, with the last of the seeds."""
    place = place or place_in(folder, model, shards=shards, workers=workers)
    settings = {"query": QUERY, "gallery": GALLERY, **others}
    return list(refine_in_parts(model, place=place, seeds=seeds, **settings))[-1]
