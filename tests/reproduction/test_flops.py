"""Operations by formula and by torch's counter."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import nformer_cli
from pipelines.gallery.refinement import refine_set
from pipelines.nformer.model import NFormer
from pipelines.reporting.paper import DUKE, MARKET, printed
from pipelines.reproduction.flops import (
    affinity_flops,
    counted_flops_a_person,
    flops_a_person,
    flops_as_read,
)
from pipelines.reproduction.variants import (
    ALONE,
    EXACT_RNS,
    NFORMER,
    ORDINARY,
    SOFTMAX,
    Variant,
)

MANUAL = Path(nformer_cli.__file__).parent / "manual"


@pytest.mark.parametrize("variant", [NFORMER, ORDINARY, ALONE, SOFTMAX, EXACT_RNS])
@pytest.mark.parametrize(("rows", "dim"), [(100, 32), (19_281, 256)])
def test_formula_and_counter_agree_within_five_per_cent(variant, rows, dim):
    formula = flops_a_person(variant, rows, dim=dim)
    assert counted_flops_a_person(variant, rows, dim=dim) == pytest.approx(formula, rel=0.05)


def test_the_ordinary_transformer_itself_takes_what_the_formula_says():
    model = NFormer(dim=32, classes=2, mask="none", affinity="exact").eval()
    # as plain matrix products: which fused kernels the counter knows differs between versions
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        refine_set(model, torch.randn(200, 32, generator=torch.Generator().manual_seed(0)))
    formula = flops_a_person(ORDINARY, 200, dim=32)
    assert counter.get_total_flops() / 200 == pytest.approx(formula, rel=0.05)


def test_a_formula_by_hand():
    # d = 4 and 2 heads of 2, N = 10, no landmarks: 3 projections of 4 x 4 and the output's make
    # 64 multiplications, the feed-forward 2 * 4 * 16 = 128, attention 2 * 10 * (2 + 2) = 80
    assert flops_a_person(ORDINARY, 10, dim=4, layers=1) == 2 * (64 + 128 + 80)
    # with k = 3: attention 2 * 3 * (2 + 2) = 24 instead
    assert flops_a_person(Variant(affinity="exact", neighbours=3), 10, dim=4, layers=1) == 2 * (
        64 + 128 + 24
    )
    assert affinity_flops(10, dim=4) == 2 * 10 * 10 * 4
    assert affinity_flops(10, dim=4, landmarks=2) == 2 * (10 * 10 * 2 + 2 * 10 * 4 * 2)
    assert affinity_flops(10, dim=4, landmarks=2, neighbours=3) == 2 * (10 * 3 * 2 + 160)


def test_the_papers_figures_come_out_as_the_manual_says():
    theirs = printed("table1")["flops"]
    ordinary, ours = (
        {rows: flops_a_person(variant, rows, dim=256) / 1e9 for rows in (MARKET, DUKE)}
        for variant in (ORDINARY, NFORMER)
    )
    assert f"{ordinary[DUKE]:.3f}" == str(theirs["transformer"])
    assert (f"{ordinary[MARKET]:.4f}", f"{ordinary[DUKE]:.4f}") == ("0.0853", "0.0878")
    assert f"{ours[MARKET]:.4f}" == f"{ours[DUKE]:.4f}" == "0.0053"
    read = [f"{flops_as_read(rows, dim=256) / 1e9:.4f}" for rows in (MARKET, DUKE)]
    assert read == ["0.0024", "0.0024"] and theirs["NFormer"] == 0.0025
    page = (MANUAL / "counting.md").read_text(encoding="utf-8")
    by_formula = f"| all, by formula | {ordinary[MARKET]:.4f} | **{ordinary[DUKE]:.4f}** |"
    assert by_formula in page and f"| all, by formula | {ours[MARKET]:.4f} |" in page
    for variant in (ORDINARY, NFORMER):
        counted = [counted_flops_a_person(variant, rows, dim=256) / 1e9 for rows in (MARKET, DUKE)]
        assert f"| PyTorch's counter | {counted[0]:.4f} | {counted[1]:.4f} |" in page
