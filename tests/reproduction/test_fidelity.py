"""The fidelity page against the list of what the paper fixes, and of what it leaves open."""

import os
import tomllib
from pathlib import Path

import pytest

import nformer_cli

PAGE = Path(nformer_cli.__file__).parent / "manual" / "fidelity.md"
SETUP = {  # a setting of the paper's -> what its row says
    "backbone": "ResNet-50, ImageNet weights, the last stage dilated, 16 times smaller",
    "image": "images of 256 × 128",
    "augmentation": "horizontal flips only",
    "layers": "four LAA modules",
    "landmarks": "l = 5",
    "neighbours": "k = 20",
    "embedding_dim": "from 2,048 to 256",
    "landmark_sampling": "landmarks are sampled at random from the set",
    "loss_order_as_printed": "identity, center and triplet loss",
    "loss_weights_as_printed": 'weights "1, 1, 0.0005"',
    "optimizer": "SGD, 3e-4",
    "lr": "SGD, 3e-4",
    "momentum_as_printed": '"momentum 5e-4"',
    "epochs": "ResNet-50 and NFormer in turn, 160 epochs, ResNet-50 frozen",
    "batch_backbone": "batches of 128 and 2,048",
    "batch_nformer": "batches of 128 and 2,048",
    "gpu": "one RTX 3090",
    "test_protocol": "interactions between queries are removed at test",
    "metrics": "CMC and mAP",
}
OPEN = {  # what the paper does not say -> the first cell of our row
    "heads": "attention heads",
    "FF width": "feed-forward network",
    "norms": "norms",
    "dropout": "dropout",
    "LR schedule": "learning rate",
    "PK sampling": "a batch",
    "triplet margin": "triplet loss",
    "warm-up": "learning rate",
    "number of landmark draws at test": "landmarks at test",
    "KR's k1/k2/lambda": "k-reciprocal re-ranking",
}


def rows_of(page: str) -> list[list[str]]:
    """Return the cells of every row of every table."""
    lines = (line.strip() for line in page.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_each_equation_table_and_figure_has_a_row():
    sections = [row[0] for row in rows_of(PAGE.read_text(encoding="utf-8")) if len(row) == 3]
    wanted = [
        *(f"Eq. {number}" for number in range(1, 9)),
        *(f"Table {number}" for number in range(1, 5)),
        *(f"Figure {number}" for number in (2, 4, 5, 6, 7)),
    ]
    assert [name for name in wanted if not any(name in section for section in sections)] == []


def test_each_setting_and_each_choice_left_open_has_a_row():
    path = Path(os.environ.get("NFORMER_SHARED", "../shared")) / "paper" / "values.toml"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    setup = tomllib.loads(path.read_text(encoding="utf-8"))["setup"]
    left_open, rows = setup.pop("not_in_text"), rows_of(PAGE.read_text(encoding="utf-8"))
    texts = [row[1] for row in rows if len(row) == 3]
    assert setup.keys() == SETUP.keys()
    assert [one for one in setup if not any(SETUP[one] in text for text in texts)] == []
    chosen = [row[0] for row in rows if len(row) == 2]
    assert left_open == list(OPEN)
    assert [one for one in left_open if OPEN[one] not in chosen] == []
