"""Refiners against dense transcriptions of their definitions, cases by hand, and isolation."""

import numpy as np
import pytest
from helpers.people import scattered, unit

from pipelines import BadInput, Embeddings
from pipelines.neighbours.graph import Neighbourhoods
from pipelines.refiners.centralisation import centralise
from pipelines.refiners.chain import REFINERS, refine_chain
from pipelines.refiners.expansion import expand_queries
from pipelines.refiners.propagation import propagate
from pipelines.refiners.whitening import whiten


def items(seed, rows, identities=12, width=8):
    generator = np.random.default_rng(seed)
    pids = np.arange(rows) % identities
    features = scattered(pids, width=width, noise=0.8, random=generator, centres=99)
    return Embeddings(features, pids, generator.integers(0, 3, rows))


@pytest.fixture(scope="module")
def near():
    return Neighbourhoods(items(0, 15), items(1, 70))


@pytest.fixture(scope="module")
def train():
    return items(2, 60)


def dense(near):
    """Return unit rows of query and gallery, and of both in one array, in float64."""
    query, gallery = near.query_items.features, near.gallery_items.features
    query, gallery = unit(query.astype(float)), unit(gallery.astype(float))
    return query, gallery, np.concatenate([query, gallery])


def ranked(similarity):
    return np.argsort(-similarity, axis=1, kind="stable")


@pytest.mark.parametrize("name", sorted(REFINERS))
def test_isolated_queries_do_not_see_each_other(name, near, train):
    together, gallery = REFINERS[name].refine(near, protocol="isolated", train=train)
    for row in (0, 7, 14):
        alone = near.like(near.query_items.select(np.array([row])), near.gallery_items)
        query, same = REFINERS[name].refine(alone, protocol="isolated", train=train)
        assert query.features[0] == pytest.approx(together.features[row], abs=1e-5)
        assert (same.features == gallery.features).all()


@pytest.mark.parametrize("name", sorted(REFINERS))
@pytest.mark.parametrize("protocol", ["isolated", "joint"])
def test_a_gallery_of_one_item(name, protocol, near, train):
    tiny = near.like(near.query_items, near.gallery_items.select(np.array([0])))
    query, gallery = REFINERS[name].refine(tiny, protocol=protocol, train=train)
    assert np.isfinite(query.features).all() and np.isfinite(gallery.features).all()
    assert (len(query), len(gallery)) == (15, 1)


def test_expansion_by_hand():
    # The query's nearest is [0.6, 0.8], similarity 0.6: it becomes [1, 0] + 0.6³ [0.6, 0.8].
    sides = [
        Embeddings(rows, [0] * len(rows), [0] * len(rows))
        for rows in (np.array([[1.0, 0.0]]), np.array([[0.6, 0.8], [-1.0, 0.0]]))
    ]
    query, gallery = expand_queries(Neighbourhoods(*sides), k=1, alpha=3.0)
    assert query.features[0] == pytest.approx([1 + 0.6**4, 0.8 * 0.6**3])
    assert gallery.features == pytest.approx(sides[1].features)  # -0.6: opposites add nothing


def test_expansion_equals_its_definition(near):
    query, gallery, every = dense(near)
    for protocol, asked, seen in (("isolated", query, gallery), ("joint", every, every)):
        similarity = asked @ seen.T
        expected = np.array(asked) if protocol == "isolated" else np.zeros_like(asked)
        k = 5 if protocol == "isolated" else 6
        for row, order in enumerate(ranked(similarity)[:, :k]):
            for j in order:
                expected[row] += max(similarity[row, j], 0) ** 3 * seen[j]
        found = expand_queries(near, protocol=protocol)[0].features
        assert found == pytest.approx(expected[:15], abs=1e-5)


def centralised_densely(rows, k1, k2):
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    order = ranked(similarity)
    out = np.array(rows)
    for i in range(len(rows)):
        for j in order[i, :k1]:
            if i in order[j, :k2]:
                out[i] += rows[j]
    return out


def test_centralisation_equals_its_definition(near):
    query, gallery, every = dense(near)
    joint = centralise(near, protocol="joint", k1=4, k2=3)
    expected = centralised_densely(every, 4, 3)
    assert np.concatenate([side.features for side in joint]) == pytest.approx(expected, abs=1e-5)
    isolated = centralise(near, protocol="isolated", k1=4, k2=3)
    assert isolated[1].features == pytest.approx(centralised_densely(gallery, 4, 3), abs=1e-5)
    for row in range(15):  # as if it were the only query
        alone = centralised_densely(np.concatenate([query[row : row + 1], gallery]), 4, 3)[0]
        assert isolated[0].features[row] == pytest.approx(alone, abs=1e-5)


def test_centralisation_by_hand():
    # 0 and 1 are each other's nearest; 2's nearest is 1, which does not return it.
    rows = unit(np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.5]]))
    gallery = Embeddings(rows, [0, 0, 0], [0, 0, 0])
    refined = centralise(Neighbourhoods(gallery, gallery), k1=1, k2=1)[1].features
    assert refined == pytest.approx(np.stack([rows[0] + rows[1], rows[0] + rows[1], rows[2]]))


def test_cameras_are_centred_by_the_gallerys_means():
    gallery = Embeddings([[1, 0], [0, 1], [0, -1]], [1, 2, 3], [0, 0, 1])
    query = Embeddings([[1, 0], [0, 1], [-1, 0]], [1, 2, 3], [0, 1, 5])
    refined = REFINERS["camera"].refine(
        Neighbourhoods(query, gallery), protocol="isolated", train=None
    )
    assert refined[1].features == pytest.approx(np.array([[0.5, -0.5], [-0.5, 0.5], [0, 0]]))
    # Camera 5 is not in the gallery: the mean of all of it, [1/3, 0], is subtracted.
    assert refined[0].features == pytest.approx(np.array([[0.5, -0.5], [0, 2], [-4 / 3, 0]]))


def test_whitening_makes_the_spread_within_identities_equal(near, train):
    rows = near.like(train, train)
    refined = whiten(rows, train=train, shrinkage=0.0)[0].features
    means = np.stack([refined[train.pids == pid].mean(axis=0) for pid in range(12)])
    apart = refined - means[train.pids]
    assert apart.T @ apart / (60 - 12) == pytest.approx(np.eye(8), abs=1e-3)


def test_whitening_equals_its_definition(near, train):
    rows = unit(train.features.astype(float))
    scatter = np.zeros((8, 8))
    for pid in range(12):
        own = rows[train.pids == pid]
        scatter += (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
    scatter /= 60 - 12
    shrunk = 0.7 * scatter + 0.3 * np.trace(scatter) / 8 * np.eye(8)
    values, vectors = np.linalg.eigh(shrunk)
    expected = (dense(near)[0] - rows.mean(axis=0)) @ (vectors / np.sqrt(values) @ vectors.T)
    found = whiten(near, train=train, shrinkage=0.3)[0].features
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def propagated_densely(rows, camids, *, k=15, k_across=3, beta=0.2, share=0.3):
    def spread(similarity, k):
        S = np.zeros_like(similarity)
        for i, order in enumerate(ranked(similarity)):
            near = [j for j in order if similarity[i, j] > -2][:k]
            S[i, near] = np.exp(similarity[i, near] / beta)
        return S / np.sqrt(np.outer(S.sum(axis=1), S.sum(axis=0)))

    similarity = rows @ rows.T
    across = np.where(camids[:, None] == camids, -2.0, similarity)
    np.fill_diagonal(across, 1.0)
    mixed = (1 - share) * spread(similarity, k) @ rows + share * spread(across, k_across) @ rows
    return unit(mixed)


@pytest.mark.parametrize("rounds", [1, 3])
def test_propagation_equals_its_definition(near, rounds):
    every = dense(near)[2]
    camids = np.concatenate([near.query_items.camids, near.gallery_items.camids])
    for _ in range(rounds):
        every = propagated_densely(every, camids)
    found = propagate(near, protocol="joint", rounds=rounds)
    assert np.concatenate([side.features for side in found]) == pytest.approx(every, abs=1e-4)


def test_isolated_propagation_leaves_the_gallery_to_itself(near):
    gallery = dense(near)[1]
    for _ in range(3):
        gallery = propagated_densely(gallery, near.gallery_items.camids)
    assert propagate(near)[1].features == pytest.approx(gallery, abs=1e-4)


def test_chains_run_left_to_right(near, train):
    first = REFINERS["camera"].refine(near, protocol="isolated", train=None)
    expected = REFINERS["nfc"].refine(near.like(*first), protocol="isolated", train=None)
    found = refine_chain(["camera", "nfc"], near)
    assert (found[0].features == expected[0].features).all()
    negated = {"negate": lambda pair: tuple(side.with_features(-side.features) for side in pair)}
    once = refine_chain(["negate"], near, special=negated)
    assert (once[0].features == -near.query_items.features).all()


def test_whitening_is_fitted_on_what_the_chain_made_of_the_training_set(near, train):
    wide = {
        "double": lambda pair: tuple(
            side.with_features(np.concatenate([side.features] * 2, axis=1)) for side in pair
        )
    }
    found = refine_chain(["double", "whiten"], near, train=train, special=wide)
    assert found[0].dim == 16


def test_bad_input(near, train):
    with pytest.raises(BadInput, match="known are nformer, aqe, nfc"):
        refine_chain(["aqe", "magic"], near)
    with pytest.raises(BadInput, match="no train split"):
        refine_chain(["whiten"], near)
    blind = Embeddings(near.query_items.features, near.query_items.pids, [-1] * 15)
    with pytest.raises(BadInput, match="camera needs the camera of every item; 15 of 15"):
        refine_chain(["camera"], near.like(blind, near.gallery_items))
    with pytest.raises(BadInput, match="both are needed"):
        near.like(near.query_items.select(np.arange(0)), near.gallery_items)


def test_whitening_leaves_be_what_does_not_vary(near):
    same = Embeddings(np.repeat(np.eye(8), 3, axis=0), np.repeat(np.arange(8), 3), [0] * 24)
    found = whiten(near, train=same)[0].features
    assert found == pytest.approx(dense(near)[0] - 1 / 8, abs=1e-6)
