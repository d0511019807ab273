"""Small runs with a gallery, for the tests of index and search."""

import numpy as np
from helpers.people import scattered

from pipelines import Run, import_embeddings, train_nformer
from pipelines.config import NFormerConfig

DIM = 16


def people(first, identities, rows, seed, prefix):
    """Bundles of rows around one centre an identity; names hold the identity."""
    random = np.random.default_rng(seed)
    pids = np.repeat(np.arange(first, first + identities), rows)
    features = scattered(pids, width=DIM, noise=0.6, random=random, centres=99)
    names = [f"{prefix}/{pid:04d}_{row}.jpg" for row, pid in enumerate(pids)]
    return {
        f"{prefix}_features": features.astype(np.float32),
        f"{prefix}_pids": pids,
        f"{prefix}_camids": np.arange(len(pids)) % rows,
        f"{prefix}_names": np.array(names),
    }


GALLERY = people(500, 20, 6, 3, "gallery")


def part_of_gallery(rows):
    return {key: value[rows] for key, value in GALLERY.items()}


def run_with(folder, gallery, *, model=None, train=True):
    run = Run(folder / "run")
    content = {**people(500, 10, 1, 2, "query"), **gallery}
    if train:
        content |= people(0, 32, 6, 1, "train")
    np.savez(folder / "e.npz", **content)
    import_embeddings(run, folder / "e.npz")
    if train:
        config = NFormerConfig(
            closed_form=False, steps=2, eval_every=2, layers=2, neighbours=5, batch=128
        )
        train_nformer(run, config=config, device="cpu")
    return run
