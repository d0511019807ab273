"""Every rule against a plain transcription of its description, on data with ties, junk and gaps."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines import BadInput, Embeddings, score
from pipelines.ranking.rules import RULES, Rules, Skip, require_labels, rules_named, selections
from pipelines.seeding import numpy_generator


def items(rows, *, people, cameras=(-1, 1, 2, 3), seed=0, side="q", junk=True):
    """Rows of random whole numbers, so that many similarities are equal; junk and gaps."""
    random = np.random.default_rng(seed)
    pids = random.integers(-1 if junk else 0, people, rows)
    return Embeddings(
        np.ones((rows, 1)),
        pids,
        random.choice(cameras, rows),
        [f"{side}{row}" for row in range(rows)],
        {"clothes": random.integers(-1, 3, rows)},
    )


def far(query, gallery, seed=5, levels=12):
    """Distances of few levels: many are equal."""
    return np.random.default_rng(seed).integers(0, levels, (len(query), len(gallery))) / levels


def by_hand(distances, query, gallery, *, keep, asked=None):
    """Yield each query's number and its list of gallery rows, nearest first, less what is skipped.

    keep: whether the gallery row j takes part for the query i.
    """
    for i in range(len(query)) if asked is None else asked:
        order = sorted(range(len(gallery)), key=lambda j: (distances[i, j], j))
        yield i, [j for j in order if gallery.pids[j] >= 0 and keep(i, j)]


def figures(lists, query, gallery):
    """mAP, mINP, MAP@R and CMC at 1, 5, 10 and 20 over the queries with a match."""
    found = []
    for i, order in lists:
        ranks = [n for n, j in enumerate(order, 1) if gallery.pids[j] == query.pids[i]]
        if not ranks or query.pids[i] < 0:
            continue
        hits = [1 if gallery.pids[j] == query.pids[i] else 0 for j in order]
        at_r = sum(hits[k] * sum(hits[: k + 1]) / (k + 1) for k in range(len(ranks))) / len(ranks)
        found.append(
            [
                np.mean([n / rank for n, rank in enumerate(ranks, 1)]),
                len(ranks) / ranks[-1],
                at_r,
                *(ranks[0] <= k for k in (1, 5, 10, 20)),
            ]
        )
    names = ("mAP", "mINP", "MAP@R", "rank1", "rank5", "rank10", "rank20")
    return dict(zip(names, np.mean(found, axis=0), strict=True)), len(found)


def agree(found, wanted, count=None):
    if count is not None:
        assert found.valid_queries == count
    assert found.mean_ap == pytest.approx(wanted["mAP"])
    for name, value in found.figures.items():
        plain = name.replace("recall@", "rank").replace("accuracy", "rank1")
        if plain in wanted:
            assert value == pytest.approx(wanted[plain]), name


def own_camera(query, gallery):
    return lambda i, j: (
        gallery.pids[j] == query.pids[i]
        and gallery.camids[j] == query.camids[i]
        and query.camids[i] >= 0
    )


def test_market1501_skips_the_person_in_its_own_camera():
    query, gallery = items(40, people=9), items(160, people=9, seed=1, side="g")
    away, distances = own_camera(query, gallery), far(query, gallery)
    lists = by_hand(distances, query, gallery, keep=lambda i, j: not away(i, j))
    agree(score(query, gallery, distances=distances), *figures(lists, query, gallery))


def test_everything_skips_nothing():
    query, gallery = items(40, people=9), items(160, people=9, seed=1, side="g")
    distances = far(query, gallery)
    lists = by_hand(distances, query, gallery, keep=lambda i, j: True)
    found = score(query, gallery, distances=distances, rules="everything")
    agree(found, *figures(lists, query, gallery))


def test_retrieval_leaves_the_query_itself_out():
    """Every image asks all others; recall@k and MAP@R (SOP, CUB-200, Cars-196)."""
    whole = items(120, people=14, junk=False)
    distances = far(whole, whole)
    np.fill_diagonal(distances, -1)
    lists = list(by_hand(distances, whole, whole, keep=lambda i, j: i != j))
    wanted, count = figures(lists, whole, whole)
    for name in ("retrieval", "cub200", "inshop"):
        found = score(whole, whole, distances=distances, rules=name)
        agree(found, wanted, count)
        assert found.figures["MAP@R"] == pytest.approx(wanted["MAP@R"])
        for figure in found.figures:
            if figure.startswith("recall@"):
                k = int(figure[7:])
                right = [
                    any(whole.pids[j] == whole.pids[i] for j in order[:k])
                    for i, order in lists
                    if (whole.pids == whole.pids[i]).sum() > 1
                ]
                assert found.figures[figure] == pytest.approx(np.mean(right)), figure
    itself = score(whole, whole, distances=distances, rules="everything")
    assert itself.mean_ap > found.mean_ap + 0.1


def test_a_query_is_known_by_its_name_in_any_order():
    whole = items(60, people=8, junk=False)
    distances = far(whole, whole)
    turned = np.random.default_rng(1).permutation(60)
    some = np.arange(7, 31)
    found = score(
        whole.select(some), whole.select(turned),
        distances=distances[some][:, turned], rules="retrieval",
    )  # fmt: skip
    lists = by_hand(
        distances[:, turned], whole, whole.select(turned), keep=lambda i, j: turned[j] != i,
        asked=some,
    )  # fmt: skip
    agree(found, *figures(lists, whole, whole.select(turned)))


@pytest.mark.parametrize("name", ["cloth-changing", "same-clothes"])
def test_clothes_decide_beside_cameras(name):
    """LTCC: the person in its own camera is skipped, and in the same, or in other, clothes."""
    query, gallery = items(60, people=5), items(200, people=5, seed=1, side="g")
    away, distances = own_camera(query, gallery), far(query, gallery)

    def keep(i, j):
        mine, theirs = query.columns["clothes"][i], gallery.columns["clothes"][j]
        known = mine >= 0 and theirs >= 0
        dressed = mine == theirs if name == "cloth-changing" else mine != theirs
        person = query.pids[i] == gallery.pids[j]
        return not away(i, j) and not (person and known and dressed)

    found = score(query, gallery, distances=distances, rules=name)
    agree(found, *figures(by_hand(distances, query, gallery, keep=keep), query, gallery))


def test_vehicleid_asks_what_was_not_drawn():
    """Each draw: one random image of a vehicle is the gallery, every other one is a query."""
    whole = items(90, people=10, junk=False)
    distances = far(whole, whole, levels=40)
    found = score(whole, whole, distances=distances, rules="vehicleid", seed=3, top=5)
    chosen = selections(RULES["vehicleid"], whole, gallery=whole, seed=3)
    assert len(chosen) == 10
    wanted, lists = [], {}
    for asked, drawn in chosen:
        assert sorted(whole.pids[drawn]) == sorted(set(whole.pids))  # one image of each
        assert sorted([*asked, *drawn]) == list(range(90))
        part = whole.select(drawn)
        orders = list(
            by_hand(distances[:, drawn], whole, part, keep=lambda i, j: True, asked=asked)
        )
        wanted.append(figures(orders, whole, part)[0])
        for i, order in orders:
            lists.setdefault(i, [drawn[j] for j in order[:5]])
    assert len({tuple(drawn) for _, drawn in chosen}) == 10  # other galleries each time
    agree(found, {name: np.mean([one[name] for one in wanted]) for name in wanted[0]})
    assert found.deviation["rank1"] == pytest.approx(np.std([one["rank1"] for one in wanted]))
    assert found.gallery == 10
    assert {i: row.tolist() for i, row in enumerate(found.ranking.index)} == lists
    again = score(whole, whole, distances=distances, rules="vehicleid", seed=3)
    assert again.figures == found.figures
    assert score(whole, whole, distances=distances, rules="vehicleid").figures != found.figures


def test_prcc_draws_one_image_of_a_person():
    query, gallery = (
        items(40, people=8, cameras=(2, 3)),
        items(90, people=8, cameras=(1,), side="g"),
    )
    distances = far(query, gallery)
    found = score(query, gallery, distances=distances, rules="prcc")
    wanted = []
    for asked, drawn in selections(RULES["prcc"], query, gallery=gallery):
        assert asked.tolist() == list(range(40))
        assert sorted(gallery.pids[drawn]) == list(range(8))  # junk is never drawn
        part = gallery.select(drawn)
        lists = by_hand(distances[:, drawn], query, part, keep=lambda i, j: True)
        wanted.append(figures(lists, query, part)[0])
    agree(found, {name: np.mean([one[name] for one in wanted]) for name in wanted[0]})


def test_halves_draw_persons_and_one_image_of_each():
    """Ten halves of the 9 persons asked for; those that no query has stay in the gallery."""
    query = items(30, people=9, seed=1, cameras=(1,), junk=False)
    gallery = items(80, people=12, seed=2, cameras=(2,), side="g")
    distances = far(query, gallery)
    rules = RULES["halves"]
    asked = set(query.pids.tolist())
    found, means, seen = score(query, gallery, distances=distances, rules=rules), [], set()
    drawn = selections(rules, query, gallery=gallery)
    assert len(drawn) == 10
    for rows, columns in drawn:
        people = set(query.pids[rows].tolist())
        assert len(people) == len(asked) - len(asked) // 2
        assert rows.tolist() == [i for i in range(len(query)) if query.pids[i] in people]
        there = gallery.pids[columns].tolist()
        assert len(set(there)) == len(there) == len(people) + 3  # 9, 10 and 11 always
        assert set(there) - people == {9, 10, 11}
        kept = set(columns.tolist())
        lists = by_hand(
            distances, query, gallery, keep=lambda i, j, kept=kept: j in kept, asked=rows
        )
        means.append(figures(lists, query, gallery)[0])
        seen.add(frozenset(people))
    assert len(seen) > 5
    for name in ("mAP", "rank1", "rank5"):
        assert found.figures[name] == pytest.approx(np.mean([one[name] for one in means]))
    assert not rules.whole().selects


@pytest.mark.parametrize("name", ["sysu-mm01", "sysu-mm01-multi"])
@pytest.mark.parametrize("indoor", [False, True])
def test_sysu_drops_camera_2_for_queries_of_camera_3_and_counts_persons(name, indoor):
    name = name.replace("mm01", "mm01-indoor") if indoor else name
    query = items(50, people=7, cameras=(3, 6))
    gallery = items(400, people=7, cameras=(1, 2, 4, 5), side="g", seed=2)
    distances = far(query, gallery, levels=60)
    found = score(query, gallery, distances=distances, rules=name)
    places = (1, 2) if indoor else (1, 2, 4, 5)
    precision, curves = [], []
    for asked, drawn in selections(RULES[name], query, gallery=gallery):
        assert len(asked) == 50
        part = gallery.select(drawn)
        assert set(part.camids) == set(places)
        for pid in range(7):
            for camera in places:
                there = ((gallery.pids == pid) & (gallery.camids == camera)).sum()
                taken = ((part.pids == pid) & (part.camids == camera)).sum()
                assert taken == min(there, 10 if "multi" in name else 1)
        lists = list(
            by_hand(
                distances[:, drawn], query, part,
                keep=lambda i, j, part=part: not (query.camids[i] == 3 and part.camids[j] == 2),
            )
        )  # fmt: skip
        wanted, _ = figures(lists, query, part)
        precision.append(wanted["mAP"])
        firsts = []
        for i, order in lists:
            persons = list(dict.fromkeys(part.pids[j] for j in order))  # each once, in order
            if query.pids[i] in persons:
                firsts.append(persons.index(query.pids[i]) + 1)
        curves.append([np.mean(np.array(firsts) <= r) for r in (1, 5, 10)])
    assert found.mean_ap == pytest.approx(np.mean(precision))
    for value, figure in zip(np.mean(curves, axis=0), ("rank1", "rank5", "rank10"), strict=True):
        assert found.figures[figure] == pytest.approx(value)
    assert found.rank(1) == pytest.approx(np.mean(curves, axis=0)[0])


def test_cuhk03_draws_a_list_for_each_query():
    """The expected share at rank 1: the right image drawn stands before that of each other."""
    query, gallery = items(12, people=4, junk=False), items(60, people=4, seed=1, side="g")
    away, distances = own_camera(query, gallery), far(query, gallery)
    shares = []
    for i, order in by_hand(distances, query, gallery, keep=lambda i, j: not away(i, j)):
        places = {
            pid: [n for n, j in enumerate(order) if gallery.pids[j] == pid] for pid in range(4)
        }
        own = places.pop(query.pids[i])
        if own:
            behind = [
                np.prod([np.mean([o > place for o in other]) for other in places.values() if other])
                for place in own
            ]
            shares.append(np.mean(behind))
    rules = replace(RULES["cuhk03-single-shot"], draws=3000)
    found = score(query, gallery, distances=distances, rules=rules)
    assert found.figures["rank1"] == pytest.approx(np.mean(shares), abs=0.01)
    plain = score(query, gallery, distances=distances)
    assert found.mean_ap == plain.mean_ap
    assert len(found.cmc) == 4


def test_wildlife_names_each_query_after_its_nearest():
    query, gallery = items(60, people=6, junk=False), items(80, people=6, seed=1, side="g")
    distances = far(query, gallery)
    distances[:, gallery.pids == 2] += 0.2  # one animal is hard
    lists = dict(by_hand(distances, query, gallery, keep=lambda i, j: True))
    right = [gallery.pids[order[0]] == query.pids[i] for i, order in lists.items()]
    found = score(query, gallery, distances=distances, rules="wildlife")
    assert found.figures["accuracy"] == pytest.approx(np.mean(right))
    animals = [np.mean(np.array(right)[query.pids == pid]) for pid in range(6)]
    assert found.figures["balanced accuracy"] == pytest.approx(np.mean(animals))
    assert np.mean(animals) != np.mean(right)


def test_open_wildlife_names_unknown_animals_new():
    """BAKS and BAUS: the threshold of each half of the animals is the best of the other half."""
    query, gallery = items(80, people=10, junk=False), items(90, people=6, seed=1, side="g")
    distances = far(query, gallery, levels=50)
    lists = dict(by_hand(distances, query, gallery, keep=lambda i, j: True))
    near = np.array([-distances[i, order[0]] for i, order in lists.items()])
    right = np.array([gallery.pids[order[0]] == query.pids[i] for i, order in lists.items()])
    known = query.pids < 6
    half = numpy_generator(0, "known and unknown").permutation(10) % 2
    good = np.zeros(80, bool)
    for part in (0, 1):
        rest = half[query.pids] != part

        def worth(bound, rest=rest):
            kept = (right & (near >= bound))[rest & known].mean()
            return kept * (near < bound)[rest & ~known].mean()

        levels = [*sorted(set(near[rest])), np.inf]
        bound = max(levels, key=worth)
        mine = half[query.pids] == part
        good[mine] = np.where(known, right & (near >= bound), near < bound)[mine]
    baks = np.mean([good[query.pids == pid].mean() for pid in range(6)])
    baus = np.mean([good[query.pids == pid].mean() for pid in range(6, 10)])
    found = score(query, gallery, distances=distances, rules="wildlife-open").figures
    assert (found["BAKS"], found["BAUS"]) == (pytest.approx(baks), pytest.approx(baus))
    assert found["BAKS-BAUS"] == pytest.approx(np.sqrt(baks * baus))


def test_all_known_or_far_apart_is_told_exactly():
    gallery = Embeddings(np.eye(6)[:3], [0, 1, 2], [-1] * 3)
    query = Embeddings(np.eye(6), [0, 1, 2, 3, 4, 5], [-1] * 6, [f"q{n}" for n in range(6)])
    found = score(query, gallery, rules="wildlife-open").figures
    assert (found["BAKS"], found["BAUS"]) == (1, 1)
    found = score(query.select(np.arange(3)), gallery, rules="wildlife-open").figures
    assert found["BAKS"] == 1
    assert np.isnan(found["BAUS"])


def test_what_rules_need_is_said():
    plain = Embeddings(np.eye(3), [0, 1, 2], [-1] * 3)
    with pytest.raises(BadInput, match="cloth-changing go by clothes, which the queries have no"):
        score(plain, plain, rules="cloth-changing")
    with pytest.raises(BadInput, match="sysu-mm01 go by cameras, and the queries have none"):
        score(plain, plain, rules="sysu-mm01")
    with pytest.raises(BadInput, match="--rules market: unknown; known are auto, market1501"):
        rules_named("market")
    cameras = Embeddings(np.eye(3), [0, 1, 2], [3, 3, 6])
    with pytest.raises(BadInput, match="no item of the cameras 1, 2, 4, 5"):
        score(cameras, cameras, rules="sysu-mm01")
    with pytest.raises(BadInput, match="the rules retrieval skip every gallery item"):
        score(plain, plain, rules="retrieval")


def test_rules_of_your_own():
    """A skip by two labels and another that differs, written as data."""
    rules = Rules(name="mine", title="", source="", skips=(Skip(("camid",), ("pid",)),))
    query, gallery = items(30, people=5), items(90, people=5, seed=1, side="g")
    distances = far(query, gallery)

    def keep(i, j):
        camera = query.camids[i] == gallery.camids[j] and query.camids[i] >= 0
        known = query.pids[i] >= 0 and gallery.pids[j] >= 0
        return not (camera and known and query.pids[i] != gallery.pids[j])

    lists = by_hand(distances, query, gallery, keep=keep)
    agree(score(query, gallery, distances=distances, rules=rules), *figures(lists, query, gallery))


def test_every_rule_has_a_source_and_known_figures():
    whole = items(60, people=4, cameras=(1, 2, 4, 5), junk=False)
    for name, rules in RULES.items():
        assert name == rules.name
        assert len(rules.source) > 10
        query = items(30, people=5, cameras=(3, 6)) if "sysu" in name else whole
        require_labels(rules, query, gallery=whole)
        found = score(query, whole, rules=rules)
        assert set(rules.figures) <= set(found.figures)
        assert found.rules == name
