"""clusters.csv there and back, what an edited one means, and tables of pairs."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.artifacts.cluster_files import (
    Members,
    read_edited,
    read_members,
    read_pairs,
    write_members,
)
from pipelines.errors import BadInput

NAMES = ["a.jpg", "b.jpg", "c, d.jpg", "e.jpg", "f.jpg", "g.jpg"]


def members(*identity: int) -> Members:
    numbers = np.array(identity)
    return Members(
        NAMES[: len(identity)],
        numbers,
        np.linspace(-0.5, 1, len(identity)).astype(np.float32),
        np.where(numbers == 0, -1, 0),
        np.where(numbers == 0, np.nan, 0.25).astype(np.float32),
        np.arange(len(identity)) % 2 == 0,
        np.arange(len(identity)) == 1,
    )


def edited(path, *identity: object, confirmed=()):
    """Write clusters 0 0 1 1 2 2 with a person's identities in them."""
    lines = ["row,name,identity,cluster,confirmed"]
    for row, who in enumerate(identity):
        name = f'"{NAMES[row]}"' if "," in NAMES[row] else NAMES[row]
        lines.append(f"{row},{name},{who},{row // 2},{'yes' if row in confirmed else ''}")
    path.write_text("\n".join(lines) + "\n")
    return path


def links(found):
    """Return who must be one, and who cannot be, as sorted pairs and groups."""
    constraints = found.constraints
    pairs = sorted(zip(constraints.first.tolist(), constraints.second.tolist(), strict=True))
    return pairs, sorted(constraints.apart.tolist()), found.confirmed.tolist()


def test_there_and_back(tmp_path):
    given = members(0, 0, 1, 2)
    write_members(tmp_path / "clusters.csv", given)
    found = read_members(tmp_path / "clusters.csv")
    assert found.names == NAMES[:4]
    for column in ("identity", "nearest", "representative", "confirmed"):
        assert (getattr(found, column) == getattr(given, column)).all()
    for column in ("confidence", "distance"):
        np.testing.assert_allclose(getattr(found, column), getattr(given, column), atol=1e-4)


def test_given_names_are_there_and_back(tmp_path):
    given = replace(members(0, 0, 1, 2), called={0: "Anna, K.", 2: "7b"})
    write_members(tmp_path / "clusters.csv", given)
    text = (tmp_path / "clusters.csv").read_text().splitlines()
    assert text[1].startswith('0,a.jpg,"Anna, K.",0,') and text[3].startswith('2,"c, d.jpg",1,1,')
    assert ',"Anna, K.",0.2500,' in text[4]  # the nearest of g is called so too
    found = read_members(tmp_path / "clusters.csv")
    assert found.called == given.called and found.identity.tolist() == [0, 0, 1, 2]
    assert found.nearest.tolist() == [-1, -1, 0, 0]
    assert [found.label(number) for number in range(3)] == ["Anna, K.", "1", "7b"]


def test_nothing_changed_is_nothing_decided(tmp_path):
    path = edited(tmp_path / "a.csv", 0, 0, 1, 1, 2, 2)
    assert links(read_edited(path, NAMES)) == ([], [], [False] * 6)


def test_two_clusters_of_one_identity_are_one(tmp_path):
    path = edited(tmp_path / "a.csv", 0, 0, 0, 0, 2, 2)
    pairs, apart, confirmed = links(read_edited(path, NAMES))
    assert pairs == [(0, 1), (1, 2), (2, 3)] and apart == [0]
    assert confirmed == [True] * 4 + [False] * 2


def test_a_cluster_of_two_identities_is_two(tmp_path):
    path = edited(tmp_path / "a.csv", 0, "Anna", 1, 1, 2, 2)
    assert links(read_edited(path, NAMES)) == ([], [0, 1], [True, True] + [False] * 4)


def test_a_name_decides_an_identity_and_a_number_does_not(tmp_path):
    found = read_edited(edited(tmp_path / "a.csv", 9, 9, "Anna", "Anna", "2.0", "2.0"), NAMES)
    assert links(found) == ([(2, 3)], [2], [False] * 2 + [True] * 2 + [False] * 2)
    assert list(found.called) == ["Anna"] and found.called["Anna"] in (2, 3)


def test_a_row_moved_decides_both_identities(tmp_path):
    path = edited(tmp_path / "a.csv", 0, 0, 1, 0, 2, 2)
    assert links(read_edited(path, NAMES)) == (
        [(0, 1), (1, 3)], [0, 2], [True] * 4 + [False] * 2
    )  # fmt: skip


def test_what_was_confirmed_stays_decided(tmp_path):
    path = edited(tmp_path / "a.csv", 0, 0, 1, 1, 2, 2, confirmed=(2, 5))
    assert links(read_edited(path, NAMES)) == (
        [(2, 3), (4, 5)], [2, 4], [False] * 2 + [True] * 4
    )  # fmt: skip


def test_lines_may_be_missing_in_any_order_and_as_excel_writes_them(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("name;identity;cluster\r\ne.jpg;0;1\r\na.jpg;0;0\r\n".encode("utf-16"))
    assert links(read_edited(path, NAMES))[0] == [(3, 0)]


@pytest.mark.parametrize(
    "text, said",
    [
        ("a,b\n1,2\n", "has no column name, identity, cluster"),
        ("name,identity,cluster\nz.jpg,1,1\n", "'z.jpg' is no row's name or number"),
        ("name,identity,cluster\na.jpg,,1\n", "line 2: no identity"),
        ("name,identity,cluster\na.jpg,1,1\na.jpg,2,1\n", "a.jpg stands in two lines"),
        ("name,identity,cluster\na.jpg,1\n", "line 2: 2 fields; its first line has 3"),
        ("", "is empty"),
    ],
)
def test_another_file_is_refused(tmp_path, text, said):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=said):
        read_edited(path, NAMES)


def test_pairs_by_name_and_by_number(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('one,other\na.jpg,"c, d.jpg"\n4,5\n\n')
    together = read_pairs(path, NAMES, together=True)
    assert together.first.tolist() == [0, 4] and together.second.tolist() == [2, 5]
    apart = read_pairs(path, NAMES, together=False)
    assert apart.apart.tolist() == [0, 2, 4, 5] and apart.group.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "text, said",
    [
        ("a.jpg,z.jpg\n", "'z.jpg' is no row's name or number; rows are called such as a.jpg"),
        ("a.jpg,9\n", "'9' is no row's name or number"),
        ("a.jpg,b.jpg,e.jpg\n", "3 cells"),
        ("a.jpg,0\n", "stands on both sides"),
    ],
)
def test_wrong_pairs_are_named(tmp_path, text, said):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=said):
        read_pairs(path, NAMES, together=True)


def test_a_name_of_several_rows_is_told_by_its_number(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("x,y\n")
    with pytest.raises(BadInput, match="'x' is the name of several rows"):
        read_pairs(path, ["x", "x", "y"], together=True)
    path.write_text("1,y\n")
    assert read_pairs(path, ["x", "x", "y"], together=True).first.tolist() == [1]
