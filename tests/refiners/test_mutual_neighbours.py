"""Mutual neighbours of one or more cameras, and what a newcomer reads, by hand and brute force."""

import pytest
import torch
from helpers.dense import random_rows
from helpers.reading import read_queries
from torch.nn.functional import normalize

from pipelines.refiners.mutual_neighbours import (
    camera_graph,
    query_edges,
    read_gallery,
)


def rows_of(count, seed, width=8):
    return random_rows(count, seed, width)


def on_a_circle(*degrees):
    turned = torch.tensor(degrees).deg2rad()
    return torch.stack([turned.cos(), turned.sin()], dim=1)


def read_by_each(near, kept):
    return [set(row[keep].tolist()) for row, keep in zip(near, kept, strict=True)]


def test_a_graph_of_two_cameras_by_hand():
    # Camera 3: rows 0, 1, 4 at 0°, 10°, 95°.  Camera 8: rows 2, 3 at 4°, 50°.  k = 2, itself one.
    rows, groups = on_a_circle(0.0, 10.0, 4.0, 50.0, 95.0), torch.tensor([3, 3, 8, 8, 3])
    graph = camera_graph(rows, groups=groups, k=2)
    assert graph.lists.tolist() == [
        [0, 1, 2, 3],
        [1, 0, 2, 3],
        [0, 1, 2, 3],
        [1, 4, 3, 2],
        [4, 1, 3, 2],
    ]
    # Mutual: 0-1, 0-2, 1-2, 1-3, 2-3, 3-4; 0 lists 3, which lists 1 and 4; 4 lists 1 and 2.
    assert read_by_each(graph.lists, graph.kept) == [{1, 2}, {0, 2, 3}, {0, 1, 3}, {1, 2, 4}, {3}]
    cosine = (rows @ rows.T).double()
    second = [[cosine[i, j] for j in at] for i, at in enumerate([(1, 3), (0, 3), (1, 3), (4, 2),
                                                                 (1, 2)])]  # fmt: skip
    assert torch.allclose(graph.reach.double(), torch.tensor(second, dtype=torch.float64))
    assert (graph.cameras.tolist(), graph.neighbours) == ([3, 8], 2)
    assert graph.groups.tolist() == groups.tolist()


def test_places_left_free_hold_the_row_itself_and_reach_everything():
    rows, groups = on_a_circle(0.0, 10.0, 20.0, 170.0), torch.tensor([0, 0, 0, 1])
    graph = camera_graph(rows, groups=groups, k=3)
    assert graph.lists[:, 3:].tolist() == [[3, 0, 0], [3, 1, 1], [3, 2, 2], [3, 3, 3]]
    assert graph.reach[:, 1].tolist() == [-torch.inf] * 4
    # A newcomer of camera 1 would be listed by all; of its own camera's three it takes a place.
    near, kept = query_edges(on_a_circle(180.0), torch.tensor([1]), rows=rows, graph=graph)
    assert read_by_each(near, kept) == [{0, 1, 2, 3}]
    # As it would be where it reads the one row of camera 1, both being among its three nearest.
    near, kept = query_edges(on_a_circle(180.0), torch.tensor([0]), rows=rows, graph=graph)
    assert read_by_each(near, kept) == [{3}]


def test_as_near_as_the_last_listed_is_not_near_enough():
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.8, 0.0]])
    graph = camera_graph(rows, groups=torch.zeros(3, dtype=torch.int64), k=2)
    assert graph.reach[:, 0].tolist() == pytest.approx([0.6, 0.8, 0.8])
    twin = rows[2:]  # of row 2, which row 1 lists last: 0.8 is not nearer than 0.8
    near, kept = query_edges(twin, torch.tensor([0]), rows=rows, graph=graph)
    assert read_by_each(near, kept) == [{2}]
    three = camera_graph(rows, groups=torch.zeros(3, dtype=torch.int64), k=3)
    near, kept = query_edges(twin, torch.tensor([0]), rows=rows, graph=three)
    assert read_by_each(near, kept) == [{1, 2}]  # all reach 0 and 0.6: row 0 is the third


def edges_by_brute_force(query, camera, rows, groups, k):
    """What a newcomer reads; of a camera that is not there, it is a newcomer to each camera."""
    read = set()
    for group in groups.unique().tolist():
        members = (groups == group).nonzero()[:, 0].tolist()
        listed = sorted(members, key=lambda j: -float(query.double() @ rows[j].double()))
        for j in listed[: k - (camera == group)]:
            asked = camera if camera in groups.tolist() else group
            of_camera = (groups == asked).nonzero()[:, 0].tolist()
            others = sorted(float(rows[j].double() @ rows[i].double()) for i in of_camera)[::-1]
            if j in of_camera:  # first in its own list
                others = [2.0] + [
                    float(rows[j].double() @ rows[i].double()) for i in of_camera if i != j
                ]
                others.sort(reverse=True)
            if len(others) < k or float(query.double() @ rows[j].double()) > others[k - 1]:
                read.add(j)
    return read


@pytest.mark.parametrize("cameras", [1, 3])
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("asking", [7, 64, 65, 80])  # a few are searched in another way
def test_what_newcomers_read_equals_brute_force(cameras, k, asking):
    rows, groups = rows_of(60, 0), 2 * (torch.arange(60) % cameras)
    query, camids = rows_of(asking, 1), torch.arange(asking) % 7 - 1  # -1, 1, 3 and 5 are unknown
    near, kept = query_edges(query, camids, rows=rows, graph=camera_graph(rows, groups=groups, k=k))
    for number, (found, camera) in enumerate(
        zip(read_by_each(near, kept), camids.tolist(), strict=True)
    ):
        known = camera if cameras > 1 else 0  # all in one group: whatever the camera
        assert found == edges_by_brute_force(query[number], known, rows, groups, k)


def test_sums_by_hand():
    rows = on_a_circle(0.0, 10.0, 100.0)
    graph = camera_graph(rows, groups=torch.zeros(3, dtype=torch.int64), k=2)
    weight = torch.exp(3.0 * (torch.tensor(10.0).deg2rad().cos() - 1))
    expected = normalize(torch.stack([rows[0] + weight * rows[1], rows[1] + weight * rows[0]]))
    found = read_gallery(rows, graph, sharpness=3.0)
    assert torch.allclose(found, torch.cat([expected, rows[2:]]), atol=1e-6)
    query, camids = on_a_circle(4.0, 90.0), torch.zeros(2, dtype=torch.int64)
    # The first reads its nearest, row 0, which it is nearer to than row 1; so does the second, row
    # 2, whose other neighbour is 90° away.
    near = torch.exp(3.0 * (torch.tensor([4.0, 10.0]).deg2rad().cos() - 1))[:, None]
    expected = normalize(query + near * rows[[0, 2]])
    read = read_queries(query, camids, rows, graph, sharpness=3.0)
    assert torch.allclose(read, expected, atol=1e-6)
    plain = read_queries(query, camids, rows, graph, sharpness=0.0)
    assert torch.allclose(plain, normalize(query + rows[[0, 2]]), atol=1e-6)
