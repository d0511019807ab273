import numpy as np
import pytest
import torch

from pipelines.neighbours.edges import Edges, edge_dot, edge_softmax, edge_sum
from pipelines.neighbours.reciprocity import nearest_of, reciprocal

# Row 0 reads rows 1 and 2, row 1 reads nothing, row 2 reads row 0.
NEIGHBOURS = torch.tensor([[1, 2], [0, 2], [0, 1]])[:, None]
KEPT = torch.tensor([[True, True], [False, False], [True, False]])[:, None]


def edges(heads=1):
    return Edges.of(NEIGHBOURS, KEPT, heads=heads, sources=3)


def test_the_form_of_a_graph():
    graph = edges()
    assert graph.offsets.tolist() == [0, 2, 2, 3]
    assert graph.index.tolist() == [1, 2, 0]
    assert graph.row_of.tolist() == [0, 0, 2]
    assert graph.block(1, 3).offsets.tolist() == [0, 0, 1]
    assert graph.block(1, 3).index.tolist() == [0]


def test_two_heads_stand_side_by_side():
    graph = edges(heads=2)  # row i of head h is 2 i + h
    assert graph.offsets.tolist() == [0, 2, 4, 4, 4, 5, 6]
    assert graph.index.tolist() == [2, 4, 3, 5, 0, 1]


def test_a_graph_of_each_head_its_own():
    neighbours = torch.tensor([[[1], [2]], [[0], [0]], [[0], [1]]])  # [N=3, h=2, K=1]
    graph = Edges.of(neighbours, torch.ones_like(neighbours).bool(), heads=2, sources=3)
    assert graph.index.tolist() == [2, 5, 0, 1, 0, 3]


def test_transposed_names_who_reads_a_row():
    transposed, order = edges().transposed
    assert transposed.offsets.tolist() == [0, 1, 2, 3]
    assert transposed.index.tolist() == [2, 0, 0]  # row 0 is read by 2, row 1 by 0, row 2 by 0
    assert order.tolist() == [2, 0, 1]


def test_products_along_edges():
    rows = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 2.0]])
    sources = torch.tensor([[1.0, 1.0], [2.0, 0.0], [3.0, 4.0]])
    assert edge_dot(rows, sources, edges=edges()).tolist() == [2.0, 3.0, 2.0]
    weights = torch.tensor([10.0, 1.0, 2.0])
    assert edge_sum(weights, sources, edges=edges()).tolist() == [
        [23.0, 4.0],
        [0.0, 0.0],
        [2.0, 2.0],
    ]


def test_softmax_over_the_own_edge_and_the_others():
    own, logits = torch.zeros(3), torch.tensor([2.0, 1.0, 3.0]).log()
    mine, theirs = edge_softmax(own, logits, edges=edges())
    assert torch.allclose(mine, torch.tensor([1 / 4, 1.0, 1 / 4]))
    assert torch.allclose(theirs, torch.tensor([2 / 4, 1 / 4, 3 / 4]))


def test_softmax_of_large_logits():
    mine, theirs = edge_softmax(
        torch.full((3,), 1e4), torch.tensor([1e4, -1e4, 2e4]), edges=edges()
    )
    assert torch.allclose(mine, torch.tensor([0.5, 1.0, 0.0]))
    assert torch.allclose(theirs, torch.tensor([0.5, 0.0, 1.0]))


@pytest.mark.parametrize("heads", [1, 2])
def test_gradients(heads):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    graph = edges(heads)
    rows, sources, weights = random(3 * heads, 4), random(3 * heads, 4), random(3 * heads)
    own = random(3 * heads)
    assert torch.autograd.gradcheck(lambda r, s: edge_dot(r, s, edges=graph), (rows, sources))
    assert torch.autograd.gradcheck(lambda w, s: edge_sum(w, s, edges=graph), (weights, sources))
    assert torch.autograd.gradcheck(lambda o, w: edge_softmax(o, w, edges=graph), (own, weights))


def test_blocks_of_edges_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 3, generator=generator)
    neighbours = torch.randint(50, (50, 1, 7), generator=generator)
    graph = Edges.of(neighbours, neighbours >= 0, heads=1, sources=50)
    whole = edge_dot(rows, rows, edges=graph)
    monkeypatch.setattr("pipelines.neighbours.edges.BLOCK_EDGES", 9)
    assert torch.equal(edge_dot(rows, rows, edges=graph), whole)
    lists = neighbours[:, 0]
    assert torch.allclose(whole.view(50, 7), (rows[:, None] * rows[lists]).sum(2), atol=1e-6)


def test_nearest_of_finds_the_largest_products_in_any_block(monkeypatch):
    rows = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    values, lists = nearest_of(rows[:2], rows, k=2)
    assert lists.tolist() == [[3, 2], [3, 2]]
    assert values.tolist() == [[8, 4], [16, 8]]
    monkeypatch.setattr("pipelines.neighbours.exact.BLOCK_BYTES", 16)  # a row at a time
    assert nearest_of(rows[:2], rows, k=2)[0].tolist() == values.tolist()
    assert nearest_of(rows, rows, k=9)[1].shape == (4, 4)
    assert nearest_of(rows[:0], rows, k=2)[1].shape == (0, 2)


def test_reciprocal_keeps_what_both_list():
    lists = torch.tensor([[1, 2], [0, 2], [1, 3], [0, 1]])[:, None]
    expected = [[True, False], [True, True], [True, False], [False, False]]
    assert reciprocal(lists)[:, 0].tolist() == expected
    assert reciprocal(lists, torch.tensor([3, 1]))[:, 0].tolist() == [expected[3], expected[1]]


@pytest.mark.parametrize("within", [None, 3])
@pytest.mark.parametrize("rows", [6, 300])  # by a matrix, and by comparing lists
def test_reciprocity_is_one_for_numpy_and_torch_and_skips_what_lists_nobody(rows, within):
    random = np.random.default_rng(0)
    lists = np.stack([random.permutation(rows)[:5] for _ in range(rows)])
    lists[random.random(lists.shape) < 0.2] = -1
    expected = [[j >= 0 and i in lists[j, :within] for j in row] for i, row in enumerate(lists)]
    assert reciprocal(lists, within=within).tolist() == expected
    assert reciprocal(torch.from_numpy(lists), within=within).tolist() == expected
    asked = reciprocal(torch.from_numpy(lists), torch.tensor([4, 1]), within=within)
    assert asked.tolist() == [expected[4], expected[1]]
