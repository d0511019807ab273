"""Nearest rows and mutual edges by hand, and the blocks in which they are worked out."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipelines.neighbours import reciprocity
from pipelines.neighbours.exact import block_rows
from pipelines.neighbours.reciprocity import nearest_of, reciprocal


class Comparisons(TorchDispatchMode):
    """Remembers how many pairs of entries each comparison of lists held at once."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.eq:
            self.sizes.append(result.numel())
        return result


def test_a_block_of_similarities_is_32_mib():
    most = 1 << 30
    assert block_rows(1 << 20, least=1, most=most) == 8  # 8 rows · 2^20 similarities · 4 bytes
    assert block_rows(0, least=1, most=most) == block_rows(1, least=1, most=most) == 1 << 23
    assert block_rows(1 << 23, least=1) == block_rows(1 << 30, least=1) == 1  # at least a row


def test_nearest_of_by_hand():
    keys = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    asking = torch.tensor([[1.0, 1.0], [-1.0, 0.5]])
    values, rows = nearest_of(asking, keys, k=2)  # products 1, 2, -3 and -1, 1, 3
    assert values.tolist() == [[2, 1], [3, 1]]
    assert rows.tolist() == [[1, 0], [2, 1]]
    assert nearest_of(asking, keys, k=5)[1].tolist() == [[1, 0, 2], [2, 1, 0]]


def test_nobody_asking_and_few_keys():
    keys = torch.ones(3, 2)
    for asking, k, shape in ((keys[:0], 2, (0, 2)), (keys[:0], 9, (0, 3)), (keys, 9, (3, 3))):
        values, rows = nearest_of(asking, keys, k=k)
        assert tuple(values.shape) == tuple(rows.shape) == shape
        assert (values.dtype, rows.dtype) == (torch.float32, torch.int64)


def brute_force(lists):
    """Eq. 7 as its words say it: j is kept where i stands in the list of j, of the same head."""
    N, H, K = lists.shape
    at = lists.tolist()
    return [[[i in at[at[i][h][p]][h] for p in range(K)] for h in range(H)] for i in range(N)]


@pytest.mark.parametrize("heads, width", [(1, 1), (2, 5), (3, 2)])
@pytest.mark.parametrize("comparisons", [1, 30, 1000])
def test_reciprocal_equals_brute_force_in_any_block(monkeypatch, heads, width, comparisons):
    generator = torch.Generator().manual_seed(heads)
    lists = torch.rand(43, heads, 43, generator=generator).argsort(dim=2)[:, :, :width]
    expected = brute_force(lists)
    monkeypatch.setattr(reciprocity, "BLOCK_COMPARISONS", comparisons)
    with Comparisons() as seen:
        assert reciprocal(lists).tolist() == expected
    of_a_row = heads * width * width
    rows = max(1, comparisons // of_a_row)
    whole, rest = divmod(43, rows)
    assert seen.sizes == [rows * of_a_row] * whole + [rest * of_a_row] * (rest > 0)
    some = torch.tensor([42, 0, 7])
    assert reciprocal(lists, some).tolist() == [expected[row] for row in some]


def test_nobody_and_empty_lists():
    assert reciprocal(torch.zeros(0, 2, 3, dtype=torch.int64)).shape == (0, 2, 3)
    assert reciprocal(torch.zeros(4, 2, 0, dtype=torch.int64)).shape == (4, 2, 0)
