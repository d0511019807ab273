"""Evaluation by other rules: one set, drawn galleries, every refiner and re-ranking."""

import json
from html import unescape

import numpy as np
import pytest
from helpers.commands import nformer, refused
from helpers.people import scattered

from pipelines import BadInput, Embeddings, Run, evaluate, import_embeddings, load_embeddings, score
from pipelines.artifacts.ranking import load_average_precision, load_ranking
from pipelines.config import EvaluateConfig
from pipelines.neighbours.graph import Neighbourhoods
from pipelines.ranking.rerankers.registry import RERANKERS, ranked_by
from pipelines.ranking.rules import RULES, selections
from pipelines.refiners.chain import REFINERS, refine_chain
from pipelines.stages.report import report

TRAINING_FREE = [name for name, refiner in REFINERS.items() if not refiner.needs_train]


def people(rows, *, seed=0, cameras=(1, 2), side="i", count=12):
    random = np.random.default_rng(seed)
    pids = random.integers(0, count, rows)
    features = scattered(pids, width=8, noise=0.9, random=random, centres=7)
    columns = {"clothes": random.integers(0, 2, rows)}
    names = [f"{side}/{row}.jpg" for row in range(rows)]
    return Embeddings(features, pids, random.choice(cameras, rows), names, columns)


def written(path, **splits):
    """An .npz of splits, with names and clothes."""
    arrays = {}
    for split, items in splits.items():
        arrays |= {
            f"{split}_features": items.features,
            f"{split}_pids": items.pids,
            f"{split}_camids": items.camids,
            f"{split}_names": np.array(items.names),
            f"{split}_clothes": items.columns["clothes"],
        }
    np.savez(path, **arrays)
    return path


def plain(**settings):
    return EvaluateConfig(refine=("none",), **settings)


def test_every_gallery_item_is_a_query_and_stored_once(tmp_path):
    birds, train = people(90, seed=1), people(40, seed=2, side="t")
    file = written(tmp_path / "birds.npz", train=train, gallery=birds)
    run = Run(tmp_path / "run")
    path = import_embeddings(run, file, rules="cub200")
    assert load_embeddings(path, "query").names == birds.names
    found = evaluate(run, config=plain(rerank=("kr",)))
    assert (found.rules, found.queries, found.gallery) == ("cub200", 90, 90)
    assert found.figures == RULES["cub200"].figures
    row = found.row("baseline")
    wanted = score(birds, birds, rules="cub200").figures
    assert {name: row.figure(name) for name in wanted} == pytest.approx(wanted)
    assert set(row.extra["figures"]) == set(found.figures)
    lists = load_ranking(run.path("ranking.h5"), "baseline")
    assert not (lists.index == np.arange(90)[:, None]).any()  # nobody finds itself
    again = Run(tmp_path / "again")
    import_embeddings(
        again, written(tmp_path / "two.npz", query=birds, gallery=birds), rules="cub200"
    )
    assert evaluate(again, config=plain(rerank=("kr",))).results[1].mAP == found.results[1].mAP
    with pytest.raises(BadInput, match="90 names stand in query and in gallery"):
        import_embeddings(Run(tmp_path / "third"), tmp_path / "two.npz")


@pytest.mark.parametrize("name", TRAINING_FREE)
@pytest.mark.parametrize("protocol", ["isolated", "joint"])
def test_one_set_is_refined_as_a_gallery_is(name, protocol):
    birds = people(80, seed=3)
    near = Neighbourhoods(birds, birds, device="cpu")
    refined = refine_chain([name], near, protocol=protocol)
    assert refined[0] is refined[1]
    other = Neighbourhoods(people(5, seed=4, side="q"), birds, device="cpu")
    gallery = refine_chain([name], other, protocol="isolated")[1]
    assert np.allclose(refined[1].features, gallery.features, atol=1e-6)


@pytest.mark.parametrize("name", list(RERANKERS))
def test_one_set_is_re_ranked_without_its_items_standing_twice(name):
    """The distances of queries and gallery that are halves of the set are those within it."""
    birds = people(80, seed=3)
    half = np.arange(80) < 40
    near = Neighbourhoods(birds, birds, device="cpu")
    apart = Neighbourhoods(birds.select(half), birds.select(~half), device="cpu")
    plain_kr = "kr" if name == "kr-isolated" else name
    whole = ranked_by(name, near, k1=8, k2=3, weight=0.3)
    parts = ranked_by(plain_kr, apart, k1=8, k2=3, weight=0.3)
    assert whole.shape == (80, 80)
    block = whole.rows(slice(0, 40))[:, 40:]
    assert np.allclose(block, parts.rows(slice(0, 40)), atol=1e-5)
    assert score(birds, birds, distances=whole, rules="cub200").mean_ap > 0


def test_nformer_refines_one_set(tmp_path):
    birds, train = people(90, seed=1), people(120, seed=2, side="t", count=24)
    file = written(tmp_path / "birds.npz", train=train, gallery=birds)
    run = tmp_path / "run"

    def done(line):
        found = nformer(f"{line} --run {run}")
        assert found.code == 0, found.err
        return found.out

    done(f"import-embeddings {file} --rules retrieval")
    done("train-nformer --set steps=2 --device cpu")
    for protocol in ("isolated", "joint"):
        told = json.loads(done(f"evaluate --protocol {protocol} --rerank kr --json"))
        assert told["rules"] == "retrieval"
        names = [row["name"] for row in told["results"]]
        assert names == ["baseline", "baseline+kr", "nformer", "nformer+kr"]
        # with other lists, embeddings are read from refined.h5
        again = json.loads(done(f"evaluate --protocol {protocol} --rerank kr --json --top 50"))
        assert [row["mAP"] for row in again["results"]] == [row["mAP"] for row in told["results"]]
    query = load_embeddings(run / "refined.h5", "query")
    assert np.array_equal(query.features, load_embeddings(run / "refined.h5", "gallery").features)
    assert list(query.columns) == ["clothes"]
    done("report")
    assert "rules retrieval" in (run / "report.html").read_text()
    assert "recall@10" in (run / "report.csv").read_text()


def test_each_drawn_gallery_is_refined_for_itself(tmp_path):
    cars, train = people(70, seed=5), people(40, seed=2, side="t")
    run = Run(tmp_path / "run")
    import_embeddings(
        run, written(tmp_path / "cars.npz", train=train, gallery=cars), rules="vehicleid"
    )
    found = evaluate(run, config=EvaluateConfig(refine=("nfc",), rerank=("kr",), seed=4))
    wanted = {"nfc": [], "nfc+kr": [], "baseline": []}
    rules = RULES["vehicleid"].whole()
    for asked, drawn in selections(RULES["vehicleid"], cars, gallery=cars, seed=4):
        pair = cars.select(asked), cars.select(drawn)
        near = Neighbourhoods(*pair, device="cpu")
        wanted["baseline"].append(score(*pair, rules=rules).mean_ap)
        refined = refine_chain(["nfc"], near)
        wanted["nfc"].append(score(*refined, rules=rules).mean_ap)
        distances = ranked_by("kr", near.like(*refined), k1=20, k2=6, weight=0.3)
        wanted["nfc+kr"].append(score(*refined, distances=distances, rules=rules).mean_ap)
    for name, values in wanted.items():
        row = found.row(name)
        assert row.mAP == pytest.approx(np.mean(values)), name
        assert row.std["mAP"] == pytest.approx(np.std(values)), name
    assert (found.queries, found.gallery) == (70, len(set(cars.pids)))
    lists = load_ranking(run.path("ranking.h5"), "nfc")
    assert lists.index.shape[0] == 70
    assert np.isfinite(load_average_precision(run.path("ranking.h5"))["nfc"]).all()
    for query, row in enumerate(lists.index):
        assert query not in row
        assert (cars.pids[row[row >= 0]] == cars.pids[query]).sum() == lists.match[query].sum()
    assert evaluate(run, config=EvaluateConfig(refine=("nfc",), rerank=("kr",), seed=4)) == found


def test_all_methods_under_clothes_rules(tmp_path):
    query, gallery = people(30, seed=1, side="q"), people(90, seed=2, side="g")
    train = people(60, seed=3, side="t", count=20)
    run = Run(tmp_path / "run")
    file = written(tmp_path / "ltcc.npz", train=train, query=query, gallery=gallery)
    import_embeddings(run, file)
    assert evaluate(run, config=plain()).rules == "market1501"
    found = evaluate(run, config=plain(every=True, rules="cloth-changing"))
    assert {row.name for row in found.results} >= {*TRAINING_FREE, "whiten", "baseline+kr"}
    assert found.row("baseline").mAP == score(query, gallery, rules="cloth-changing").mean_ap
    assert found.row("baseline").mAP != score(query, gallery).mean_ap


@pytest.mark.parametrize("rules", RULES)
def test_rules_without_their_labels_are_refused_in_a_sentence(tmp_path, rules):
    items = {"query": people(20, side="q"), "gallery": people(40, seed=1)}
    arrays = {f"{split}_features": one.features for split, one in items.items()}
    arrays |= {f"{split}_pids": one.pids for split, one in items.items()}
    np.savez(tmp_path / "bare.npz", **arrays)
    assert nformer(f"import-embeddings {tmp_path}/bare.npz --run {tmp_path}/run").code == 0
    done = nformer(f"evaluate --run {tmp_path}/run --refine none --rules {rules}")
    by_cameras = any(skip.cameras for skip in RULES[rules].skips)
    lacking = sorted(RULES[rules].labels()) or (["cameras"] if by_cameras else [])
    assert done.code == (2 if lacking else 0), done
    if lacking:
        assert f"rules {rules} go by {lacking[0]}" in " ".join(done.err.split())


@pytest.mark.parametrize("rules", ["market1501", "prcc", "sysu-mm01", "cuhk03-single-shot"])
def test_charts_show_only_what_the_table_counts(tmp_path, rules):
    query, gallery = people(30, seed=1, side="q"), people(90, seed=2, side="g")
    run = Run(tmp_path / "run")
    import_embeddings(run, written(tmp_path / "set.npz", query=query, gallery=gallery))
    evaluate(run, config=plain(rules=rules))
    page = report(run).read_text(encoding="utf-8")
    assert f"Rules {rules}: {RULES[rules].title}" in unescape(page)
    curves = ("Cumulative matching characteristic", "Precision and recall")
    assert [title in page for title in curves] == [rules == "market1501"] * 2


def test_other_rules_are_not_comparable(tmp_path):
    query, gallery = people(30, seed=1, side="q"), people(90, seed=2, side="g")
    file = written(tmp_path / "ltcc.npz", query=query, gallery=gallery)
    for name, rules in (("a", "auto"), ("b", "everything")):
        import_embeddings(Run(tmp_path / name), file)
        evaluate(Run(tmp_path / name), config=plain(rules=rules))
    said = refused(f"compare {tmp_path / 'a'} {tmp_path / 'b'}")
    assert "different rules, market1501 and everything: their figures are not comparable" in said
    for option in ("--rules sysu", "--set rules=sysu"):
        said = refused(f"evaluate --run {tmp_path / 'a'} {option}")
        assert "--rules sysu: unknown; known are auto, market1501" in said


def test_further_labels_travel_through_every_format(tmp_path):
    query, gallery = people(20, seed=1, side="q"), people(30, seed=2, side="g")
    query.columns["clothes"][3] = -1
    run = Run(tmp_path / "run")
    import_embeddings(run, written(tmp_path / "ltcc.npz", query=query, gallery=gallery))
    for ending in ("npz", "npy", "parquet", "mat", "h5"):
        file = tmp_path / f"out.{ending}"
        if ending == "h5":
            file = run.path("embeddings.h5")
        else:
            assert nformer(f"export-embeddings {file} --run {run.folder}").code == 0
        files = [file, file.with_suffix(".csv")] if ending == "npy" else [file]
        other = Run(tmp_path / f"again-{ending}")
        path = import_embeddings(other, files)
        for split, items in (("query", query), ("gallery", gallery)):
            found = load_embeddings(path, split)
            assert found.columns["clothes"].tolist() == items.columns["clothes"].tolist(), ending


def test_labels_of_text_are_numbered_and_gaps_are_unknown(tmp_path):
    table = "path,pid,camid,split,clothes,date\n"
    for row in range(12):
        side = "query" if row < 4 else "gallery"
        clothes = "" if row == 1 else "red" if row % 2 else "blue"
        table += f"{side}/{row}.jpg,{row % 2},{row % 3},{side},{clothes},2024-0{1 + row % 3}-01\n"
    (tmp_path / "rows.csv").write_text(table)
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(12, 4)))
    files = [tmp_path / "rows.npy", tmp_path / "rows.csv"]
    path = import_embeddings(Run(tmp_path / "run"), files)
    found = load_embeddings(path, "query")
    assert found.columns["clothes"].tolist() == [0, -1, 0, 1]
    assert found.columns["time"].tolist() == [0, 1, 2, 0]
