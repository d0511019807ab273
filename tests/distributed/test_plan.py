"""What refining in parts will take, by hand for a small set, and beside what it took."""

import pytest
from helpers.in_parts import GALLERY, MODELS, QUERY, in_parts, place_in

from pipelines.distributed.parts import Cost
from pipelines.distributed.plan import IDLE, SEARCH, Size, lists_of, plan_of

SIZE = Size(queries=len(QUERY), gallery=len(GALLERY), width=16, cameras=5)


def test_each_model_makes_its_lists():
    assert lists_of(MODELS["NFormer"](), 5) == [(6, 3, True)]
    assert lists_of(MODELS["baseline"](), 5) == []
    assert lists_of(MODELS["per camera, NFormer"](), 5) == [
        (15, 1, False),
        (15, 1, False),
        (3, 2, True),
    ]
    assert lists_of(MODELS["gate, NFormer"](), 1) == [
        (5, 1, True),
        (5, 1, True),
        (21, 1, True),
        (5, 2, True),
    ]


def test_a_plan_by_hand():
    """Ten rows and no query in two parts; each row lists one more, and there is one layer."""
    model = MODELS["NFormer"]()
    model.neighbours, model.blocks = 2, model.blocks[:1]
    plan = plan_of(model, Size(0, 10, 16), workers=2, method="exact")
    # The sample is row 0; of rank 1, so all 10 rows may be candidates of a row.
    search = 64 * (2 * 1 + 2 * 10 + 2 * (2 * 10 + 10)) + 8 * 2 * 10 + 8 * 10 + 2 * 16 * 10 * 10
    edges = 2 * (5 * 20 + 10 * 16)  # 5 rows a part, which list all 10 at most
    layer = 2 * (5 * (18 + 64) + 10 * 64)
    assert (plan.parts, plan.workers, plan.exact) == (2, 2, True)
    assert plan.read == search + edges + layer
    layered = 5 * (256 + 52) + 10 * (256 + 32)
    pair = 10 * (96 + 8 * 44)  # 15 candidates of a row are kept, in room for 44
    decision = 5 * (64 + 48 * 15) + 10 * 64
    assert plan.memory == IDLE + SEARCH + max(layered, pair, decision)
    assert "2 parts, 2 workers: about" in str(plan)


@pytest.mark.parametrize("name", ["NFormer", "per camera, NFormer", "gate, NFormer"])
def test_tasks_read_no_more_than_planned(name, tmp_path):
    model = MODELS[name]()
    place = place_in(tmp_path, model, shards=4)
    in_parts(model, tmp_path, place=place)
    took = sum(place.costs.values(), Cost())
    size = SIZE if name.startswith("per camera") else Size(len(QUERY), len(GALLERY), 16)
    plan = plan_of(model, size, workers=1, shards=4, method="auto")
    assert 0.5 * plan.read < took.bytes <= plan.read
