"""Lists that are kept: what they hold, what is found through them, and how much of the truth."""

from dataclasses import replace

import numpy as np
import torch
from helpers.people import scattered

from pipelines.neighbours.inverted_lists import InvertedLists, inverted_lists, measured_recall
from pipelines.neighbours.reciprocity import nearest_of


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_query_looks_through_the_lists_of_the_nearest_centres():
    rows = unit(np.array([[1, 0], [0, 1], [0.9, 0.1], [0.1, 0.9], [0.8, 0.3]]))
    lists = InvertedLists(np.eye(2, dtype=np.float32), np.array([0, 2, 4, 1, 3]), np.array([3, 5]),
                          probes=1, recall=1.0)  # fmt: skip
    asking = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    value, index = lists.nearest(asking, torch.from_numpy(rows), k=2)
    assert index.tolist() == [[3, 1], [0, 2]]  # row 4, of the other list, is nearer than 1
    np.testing.assert_allclose(value[1], rows[[0, 2]] @ np.array([1, 0]), atol=1e-6)
    # A list of two rows does not hold three: all are compared.
    assert lists.nearest(asking[:1], torch.from_numpy(rows), k=3)[1].tolist() == [[3, 4, 1]]


def test_lists_hold_each_row_once_and_their_recall_is_that_of_a_sample():
    random = np.random.default_rng(0)
    rows = unit(scattered(np.repeat(np.arange(300), 10), width=16, noise=0.5, random=random))
    lists = inverted_lists(rows)
    assert sorted(lists.rows.tolist()) == list(range(3000))
    assert lists.ends[-1] == 3000
    assert 0.95 <= lists.recall <= 1
    keys = torch.from_numpy(rows)
    found = lists.nearest(keys[:400], keys, k=21)[1].numpy()
    true = nearest_of(keys[:400], keys, k=21)[1].numpy()
    pairs = enumerate(zip(found, true, strict=True))
    share = np.mean([len({*one} & {*other} - {row}) / 20 for row, (one, other) in pairs])
    assert abs(share - lists.recall) < 0.04
    everything = replace(lists, probes=len(lists.centres))
    assert measured_recall(everything, rows) == 1
    assert InvertedLists.of(lists.arrays()).recall == lists.recall
    assert str(lists).startswith("76 lists, ")
