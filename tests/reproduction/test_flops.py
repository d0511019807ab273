"""Operations by formula and by torch's counter."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipelines.gallery.refinement import refine_set
from pipelines.nformer.model import NFormer
from pipelines.reproduction.flops import affinity_flops, counted_flops_a_person, flops_a_person
from pipelines.reproduction.paper import MARKET, NFORMER_GFLOPS, TRANSFORMER_GFLOPS
from pipelines.reproduction.variants import (
    ALONE,
    EXACT_RNS,
    NFORMER,
    ORDINARY,
    SOFTMAX,
    Variant,
)


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


def test_the_papers_figures_are_met_in_two_ways_of_counting():
    ordinary = flops_a_person(ORDINARY, MARKET, dim=256) / 1e9
    ours = flops_a_person(NFORMER, MARKET, dim=256) / 1e9
    assert ordinary == pytest.approx(TRANSFORMER_GFLOPS, rel=0.05)
    assert ours / 2 == pytest.approx(NFORMER_GFLOPS, rel=0.08)
