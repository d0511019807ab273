"""A server's answers are those of a search; its limits hold, and its index can be replaced."""

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.gallery_runs import GALLERY, people, run_with
from helpers.serving import picture, pictures_run, png, send, serving
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from pipelines.artifacts.manifest import Manifest
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput
from pipelines.gallery.index import build_index
from pipelines.gallery.index_file import save_index
from pipelines.serving.batches import answer_all
from pipelines.stages.change_index import add_to_index, remove_from_index
from pipelines.stages.index import index_gallery
from pipelines.stages.search_images import Searcher, search_images


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return pictures_run(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def served(run):
    with serving(run) as (client, service):
        yield client, service


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refined")
    found = run_with(folder, GALLERY)
    index_gallery(found)
    return found


def same(sent: dict, answer) -> None:
    """Compare an answer that was sent with one of a search, number by number."""
    hits = [dataclasses.asdict(hit) for hit in answer.hits]
    links = [hit.pop("picture") for hit in sent["hits"]]
    assert links == [f"/items/{h['row']}/picture?version={sent['version']}" for h in hits]
    for key in ("similarity", "before", "weight"):
        there, wanted = ([hit.pop(key) for hit in listed] for listed in (sent["hits"], hits))
        assert there == pytest.approx(wanted, abs=2e-6)  # a batch's products differ in a last digit
    assert sent["hits"] == hits
    assert [one["row"] for one in sent["listened"]] == answer.rows
    assert [one["name"] for one in sent["listened"]] == [name for name, _ in answer.listened]
    shares = [share for _, share in answer.listened]
    assert [one["share"] for one in sent["listened"]] == pytest.approx(shares, abs=2e-6)
    assert sent["own"] == pytest.approx(answer.own, abs=2e-6)
    assert sent["nearest"] == pytest.approx(answer.nearest, abs=2e-6)
    assert sent["nobody"] is answer.nobody


def test_a_picture_is_answered_as_a_search_answers_it(served, run, tmp_path):
    client, _ = served
    for number, crop in ((3, None), (11, None), (5, (4, 10, 20, 40))):
        picture(number).save(tmp_path / "query.png")
        (answer,) = search_images(run, [tmp_path / "query.png"], top=4, crop=crop).answers
        part = {} if crop is None else {"crop": ",".join(map(str, crop))}
        found = send(client, png(picture(number)), top=4, **part)
        assert found.status_code == 200, found.text
        same(found.json(), answer)
    assert found.json()["gallery"] == 8


def test_many_at_once_are_answered_each_as_alone(served, run, tmp_path):
    client, service = served
    asked = [(number, 1 + number % 3, "0.5" if number % 2 else "") for number in range(24)]
    with ThreadPoolExecutor(12) as pool:
        found = list(
            pool.map(
                lambda a: send(client, png(picture(a[0] + 100)), top=a[1], threshold=a[2]), asked
            )
        )
    searcher = Searcher(run)
    for (number, top, threshold), answer in zip(asked, found, strict=True):
        picture(number + 100).save(tmp_path / "query.png")
        limit = float(threshold) if threshold else None
        result = searcher.search([tmp_path / "query.png"], top=top, threshold=limit)
        same(answer.json(), result.answers[0])
    text = client.get("/metrics").text
    counted = [one for one in text.splitlines() if one.startswith("nformer_batch_queries_count")]
    assert (
        float(counted[0].split()[1])
        < service.metrics.requests.labels("POST", "/search", 200)._value.get()
    )  # some were answered together


def test_an_item_is_searched_with_by_its_row(served, run):
    client, _ = served
    (answer,) = search_images(run, [crop_file(run, 6)]).answers
    same(client.post("/search", params={"row": 6}).json(), answer)
    assert answer.hits[0].name == "6.png"
    part = client.post("/search", params={"row": 6, "crop": "0,0,40,40", "top": 3})
    cut = search_images(run, [crop_file(run, 6)], crop=(0, 0, 40, 40), top=3)
    same(part.json(), cut.answers[0])


def crop_file(run, number):
    return run.folder.parent / "crops" / f"{number}.png"


def test_features_refine_and_explain_as_a_search_does(refined):
    queries = people(500, 10, 1, 2, "query")
    wanted = search_images(refined, [refined.folder.parent / "e.npz"], threshold="auto", top=5)
    with serving(refined) as (client, _):
        for row, answer in enumerate(wanted.answers):
            content = json.dumps({"features": queries["query_features"][row].tolist()}).encode()
            found = send(client, content, kind="application/json", threshold="auto", top=5)
            same(found.json(), answer)
            assert found.json()["threshold"] == wanted.threshold
            assert found.json()["false_accepts"] == wanted.false_accepts
        assert len(found.json()["listened"]) > 0
        assert client.get("/about").json()["calibration"]["threshold"] == wanted.threshold
        refusal = send(client, png(picture(1)))
        assert refusal.status_code == 400
        assert "the network that embedded the items is not in this run" in refusal.json()["error"]
        narrow = send(client, b'{"features": [1, 2, 3]}', kind="application/json")
        assert narrow.status_code == 400
        assert "are 3 wide, the gallery's 16" in narrow.json()["error"]


def test_items_of_a_camera_are_ranked_among_themselves(refined):
    rows = np.flatnonzero(GALLERY["gallery_camids"] == 2)
    query = people(500, 10, 1, 2, "query")["query_features"][3]
    with serving(refined) as (client, service):
        content = json.dumps({"features": query.tolist()}).encode()
        whole = send(client, content, kind="application/json", top=120).json()
        part = send(client, content, kind="application/json", top=4, among="2").json()
        kept = [hit["row"] for hit in whole["hits"] if hit["row"] in rows]
        assert [hit["row"] for hit in part["hits"]] == kept[:4]
        listed = client.get("/items", params={"among": "2", "start": 1, "count": 3}).json()
        assert listed["total"] == len(rows) == 20
        assert [item["row"] for item in listed["items"]] == rows[1:4].tolist()
        assert len(service.cameras(service.live.current)) == 6
        unknown = send(client, content, kind="application/json", among="9")
        assert unknown.status_code == 400
        assert unknown.json()["error"] == "no item is of these cameras and this time"


def test_items_of_a_time_are_ranked_among_themselves(tmp_path):
    run = indexed(tmp_path, times=[10, 20, 30, -1])
    with serving(run) as (client, _):
        about = client.get("/about").json()
        assert (about["first_time"], about["last_time"]) == (10, 30)
        content = b'{"features": [1, 0.5, 0.2, 0.1]}'

        def rows(**params):
            found = send(client, content, kind="application/json", **params)
            return [hit["row"] for hit in found.json()["hits"]]

        assert rows() == [0, 1, 2, 3]
        assert rows(since=20) == [1, 2]
        assert rows(until=20) == [0, 1]
        assert rows(since=15, until=25) == [1]
        assert client.get("/items/2").json()["time"] == 30


def indexed(folder, *, names=("a.png", "b.png", "c.png", "d.png"), times=None, root=""):
    """A run whose index holds the four axes of a space, by no network."""
    from pipelines import Run

    columns = {} if times is None else {"time": np.array(times)}
    axes = Embeddings(np.eye(4), np.arange(4), np.zeros(4, int), list(names), columns)
    run = Run(folder / "run")
    facts = {"dataset": "", "root": root, "calibration": None, "added": 0, "removed": 0}
    with run.writing(Manifest("index.h5", "index", {}, {}, facts)) as (path, _):
        save_index(path, build_index(axes, None))
    return run


# What is refused


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"host": "evil.example"}, "the Host header is not a name of this server"),
        ({"host": "evil.example:8000"}, "the Host header is not a name of this server"),
        ({"host": "localhost.evil.example"}, "the Host header is not a name of this server"),
        ({"host": "192.168.1.7:8000"}, "the Host header is not a name of this server"),
        ({"host": ""}, "the Host header is not a name of this server"),
        ({"origin": "https://evil.example"}, "the Origin header is another site's"),
        ({"origin": "http://localhost:3000"}, "the Origin header is another site's"),
        ({"origin": "null"}, "the Origin header is another site's"),
        ({"sec-fetch-site": "cross-site"}, "another site's page asks"),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"}, "another site's page asks"),
    ],
)
def test_other_sites_are_refused(served, headers, problem):
    client, _ = served
    for found in (
        send(client, png(picture(1)), headers=headers),
        client.get("/items/1/picture", headers=headers),
    ):
        assert found.status_code == 403
        assert found.json() == {"error": problem}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "localhost:9000"])
def test_this_machine_is_let_in_under_its_names(served, host):
    client, _ = served
    own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert send(client, png(picture(1)), headers=own).status_code == 200
    assert client.get("/", headers={"host": host}).status_code == 200


def test_answers_say_what_a_page_may_do(served):
    client, _ = served
    for place in ("/", "/page.js", "/about", "/items/1/picture", "/nothing"):
        headers = client.get(place).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


def test_a_token_is_needed_where_one_is_set(run):
    token = "0123456789abcdefXYZ"
    with serving(run, host="0.0.0.0", token=token) as (client, _):
        assert client.get("/health").status_code == 200
        assert client.get("/items").status_code == 401
        assert client.get("/items").headers["www-authenticate"] == "Bearer"
        assert send(client, png(picture(1))).status_code == 401
        wrong = {"authorization": f"Bearer {token[:-1]}"}
        assert client.get("/items", headers=wrong).status_code == 401
        assert client.get("/items", params={"token": token}).status_code == 401
        right = {"authorization": f"Bearer {token}", "host": "10.0.0.5:8000"}
        assert client.get("/items", headers=right).status_code == 200
        assert client.get("/items", headers={**right, "host": "evil.example"}).status_code == 403
        page = client.get("/")
        assert page.status_code == 401
        assert '<input name="token" type="password"' in page.text
        assert client.get("/?token=wrong").status_code == 401
        entered = client.get(f"/?token={token}", follow_redirects=False)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        kept = entered.headers["set-cookie"]
        assert token not in kept
        assert "HttpOnly; SameSite=Lax" in kept
        assert client.get("/items").status_code == 200  # by the cookie


def test_a_proxy_is_let_in_under_the_name_that_was_given(run):
    token = "0123456789abcdefXYZ"
    with serving(run, token=token, names=("find.example",)) as (client, _):
        sent = {"host": "find.example", "authorization": f"Bearer {token}"}
        assert client.get("/items", headers=sent).status_code == 200
        assert client.get("/items", headers={**sent, "host": "other.example"}).status_code == 403
        assert client.get("/items", headers={"host": "find.example"}).status_code == 401


def test_a_large_picture_is_refused_before_it_is_read(run):
    with serving(run, megabytes=0.1) as (client, service):
        announced = send(client, b"x" * 200_000)
        assert announced.status_code == 413
        assert announced.json()["error"] == "a picture may have 0.1 MB"
        streamed = send(client, (b"x" * 50_000 for _ in range(9)))
        assert streamed.status_code == 413
        assert service.taken.bytes == service.taken.requests == 0
    with serving(run, in_flight=0.1) as (client, _):
        assert send(client, b"x" * 200_000).status_code == 429


def test_a_slow_picture_is_given_up(run):
    with serving(run, seconds=0.05) as (client, _):
        ended = threading.Event()

        def slowly():
            yield b"x"
            ended.wait(0.3)
            yield b"x"

        assert send(client, slowly()).status_code in (400, 408)  # a test client sends all at once


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 100,000 × 100,000 pixels."""
    content = bytearray(png(Image.new("L", (8, 8))))
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    from zlib import crc32

    content[29:33] = crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no picture was sent"),
        (b"GIF89a", "what was sent is no picture of a known kind"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "what was sent is no picture of a known"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "what was sent is no picture of a"),
        (bomb(), "the picture has more than 50,000,000 pixels"),
        (png(Image.new("1", (8000, 8000))), "8000×8000 pixels, and the limit is 50,000,000"),
        (png(picture(1))[:90], "the picture cannot be read: "),
    ],
)
def test_what_is_no_picture_is_refused(served, content, problem):
    client, _ = served
    found = send(client, content)
    assert found.status_code == 400
    assert problem in found.json()["error"]


@pytest.mark.parametrize(
    ("params", "status", "problem"),
    [
        ({"crop": "30,0,20,20"}, 400, "crop 30,0,20,20 lies outside of the picture, which is 40"),
        ({"crop": "a"}, 400, "crop a: wanted x,y,width,height in pixels"),
        ({"top": 0}, 422, "top: Input should be greater than or equal to 1"),
        ({"top": "many"}, 422, "top: Input should be a valid integer"),
        ({"threshold": "2"}, 400, "threshold 2: wanted auto, or a similarity from -1 to 1"),
        ({"threshold": "nan"}, 400, "threshold nan: wanted auto"),
        ({"threshold": "auto"}, 400, "index.h5 has no calibration"),
        ({"camera": "front"}, 400, "no cameras are known in this gallery, 'front' neither"),
        ({"since": 5}, 400, "since, until: the items of this index have no times"),
        ({"row": 8}, 400, "row 8: the index has rows from 0 to 7"),
        ({"row": -1}, 400, "row -1: the index has rows from 0 to 7"),
        ({"row": 1, "version": "another"}, 400, "the index was replaced since; search again"),
    ],
)
def test_wrong_parameters_are_named(served, params, status, problem):
    client, _ = served
    found = send(client, png(picture(1)), **params)
    assert found.status_code == status
    assert problem in found.json()["error"]
    assert set(found.json()) == {"error"}


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "", "text/html"])
def test_what_a_form_of_another_site_could_send_is_refused(served, kind):
    client, _ = served
    found = send(client, png(picture(1)), kind=kind)
    assert found.status_code == 415


@pytest.mark.parametrize(
    "place",
    [
        "/../pyproject.toml", "/%2e%2e/pyproject.toml", "/static/../app.py", "//etc/passwd",
        "/page.js/../../app.py", "/items/..%2f..%2fetc%2fpasswd/picture", "/items/1%00/picture",
        "/items/%2fetc%2fpasswd", "/app.py", "/index.html/../service.py",
    ],
)  # fmt: skip
def test_no_path_of_a_request_reaches_the_disk(served, place):
    client, _ = served
    found = client.get(place)
    assert found.status_code in (404, 422)
    assert "import" not in found.text
    assert "root:" not in found.text


def test_names_that_lead_out_of_the_root_are_not_shown(tmp_path):
    (tmp_path / "root").mkdir()
    for place in ("root/a.png", "secret.png"):
        picture(1).save(tmp_path / place)
    names = ("a.png", "../secret.png", str(tmp_path / "secret.png"), "gone.png")
    run = indexed(tmp_path, names=names, root=str(tmp_path / "root"))
    with serving(run) as (client, _):
        assert client.get("/items/0/picture").status_code == 200
        for row in (1, 2):
            found = client.get(f"/items/{row}/picture")
            assert found.status_code == 400
            assert "it lies below no folder of this run's pictures" in found.json()["error"]
        assert client.get("/items/3/picture").status_code == 400


def test_other_places_and_methods_are_answered_in_json(served):
    client, _ = served
    assert client.get("/nothing").json() == {"error": "Not Found"}
    found = client.put("/search")
    assert (found.status_code, found.json()) == (405, {"error": "Method Not Allowed"})


# How much at once


def test_past_the_bound_a_request_is_told_when_to_come_back(run, monkeypatch):
    with serving(run, waiting=2) as (client, service):
        free, at_work = threading.Event(), threading.Event()
        answered = service.live.current.searching.answered

        def waiting(*args, **named):
            at_work.set()
            assert free.wait(20)
            return answered(*args, **named)

        monkeypatch.setattr(service.live.current.searching, "answered", waiting)
        with ThreadPoolExecutor(2) as pool:
            first = [pool.submit(send, client, png(picture(n))) for n in (1, 2)]
            assert at_work.wait(20)
            while service.taken.requests < 2:
                assert not free.wait(0.01)
            refused = send(client, png(picture(3)))
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["error"].startswith("2 requests are waiting; come back in ")
            assert client.get("/health").status_code == 200
            free.set()
            assert [one.result().status_code for one in first] == [200, 200]
        assert send(client, png(picture(3))).status_code == 200


def test_one_that_cannot_be_answered_harms_no_other(refined):
    rows = people(500, 10, 1, 2, "query")["query_features"]
    with serving(refined) as (_, service):
        settings = {"crop": None, "camera": "-1", "among": ((), None, None), "top": 3,
                    "threshold": None, "false_accepts": 0.01}  # fmt: skip
        opened = service.live.current
        bad = np.zeros(16, np.float32)
        batch = [service.asked(opened, row, **settings) for row in (rows[0], bad, rows[1])]
        left = service.asked(opened, rows[2], **settings)
        left.result.cancel()
        assert len({one.kind for one in batch}) == 1
        answer_all([*batch, left])
        with pytest.raises(BadInput, match="1 of 1 query embeddings"):
            batch[1].result.result()
        wanted = search_images(refined, [refined.folder.parent / "e.npz"], top=3).answers
        for one, answer in ((batch[0], wanted[0]), (batch[2], wanted[1])):
            (found,) = one.result.result().answers
            assert [hit.row for hit in found.hits] == [hit.row for hit in answer.hits]


# The index replaced, and changed


def test_the_index_is_replaced_under_load_without_a_failed_request(tmp_path):
    run = pictures_run(tmp_path)
    ended, statuses, seen = threading.Event(), [], set()
    with serving(run) as (client, service):
        before = client.get("/about").json()["version"]
        shown = client.get("/items/3/picture", params={"version": before}).content

        def load(number):
            while not ended.is_set():
                found = send(client, png(picture(number)), top=1)
                statuses.append(found.status_code)
                seen.add(found.json().get("gallery"))

        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load, number) for number in range(4)]
            for number in (20, 21):
                picture(number).save(tmp_path / f"{number}.png")
                add_to_index(run, [tmp_path / f"{number}.png"])
                service.live.refresh()
            remove_from_index(run, "0.png")
            service.live.refresh()
            # The row is another item now; the link of the answer before still shows what it did.
            links = [{"version": v} for v in (before, client.get("/about").json()["version"])]
            old, new = (client.get("/items/3", params=link) for link in links)
            assert new.json()["name"] == "4.png"
            assert old.status_code == 400  # three versions on, it is gone rather than wrong
            send_last = send(client, png(picture(21)), top=1)
            ended.set()
            for one in loads:
                one.result()
        assert set(statuses) == {200}
        assert len(statuses) > 4
        assert seen <= {8, 9, 10}
        assert send_last.json()["hits"][0]["name"] == str(tmp_path / "21.png")
        assert service.live.reloads == 3
        assert shown != client.get("/items/3/picture").content


def test_a_damaged_index_leaves_the_one_before_at_work(tmp_path):
    run = pictures_run(tmp_path, count=3)
    with serving(run) as (client, service):
        whole = run.path("index.h5").read_bytes()
        run.path("index.h5").unlink()
        run.path("index.h5").write_bytes(whole[: len(whole) // 2])
        service.live.refresh()
        assert send(client, png(picture(1))).json()["hits"][0]["name"] == "1.png"
        health = client.get("/health").json()
        assert health["status"] == "ok"
        assert health["problem"] == "the index's file changed and cannot be opened"
        assert "nformer_index_stale 1.0" in client.get("/metrics").text
        run.path("index.h5").write_bytes(whole)
        service.live.refresh()
        assert client.get("/health").json()["problem"] == ""


def test_changes_are_refused_unless_they_are_allowed(served, run):
    client, _ = served
    before = run.path("index.h5").read_bytes()
    kind = {"content-type": "image/png"}
    added = client.post("/items", content=png(picture(30)), headers=kind)
    removed = client.delete("/items/1", params={"version": client.get("/about").json()["version"]})
    assert added.status_code == removed.status_code == 403
    assert "start the server with --allow-edit" in added.json()["error"]
    assert run.path("index.h5").read_bytes() == before


def test_pictures_are_added_and_removed(tmp_path):
    run = pictures_run(tmp_path, count=4)
    kind = {"content-type": "image/jpeg"}
    with serving(run, allow_edit=True) as (client, _):
        sent = png(picture(40), "JPEG")
        added = client.post("/items", content=sent, headers=kind, params={"pid": 7, "camera": 2})
        assert added.status_code == 200, added.text
        assert (added.json()["changed"], added.json()["items"]) == (1, 5)
        (kept,) = (run.folder / "added").iterdir()
        assert kept.read_bytes() == sent
        item = client.get("/items/4").json()
        assert (item["name"], item["pid"], item["camera"]) == (str(kept.resolve()), 7, "2")
        assert client.get(item["picture"]).status_code == 200
        assert send(client, sent, kind="image/jpeg").json()["hits"][0]["row"] == 4
        again = client.post("/items", content=sent, headers=kind)
        assert again.json()["error"] == "this picture is in the index already"
        bad = client.post("/items", content=b"nothing", headers=kind)
        assert bad.status_code == 400
        assert len(list((run.folder / "added").iterdir())) == 1
        stale = client.delete("/items/4", params={"version": "0" * 16})
        assert stale.status_code == 400
        version = added.json()["version"]
        gone = client.delete("/items/4", params={"version": version})
        assert (gone.json()["changed"], gone.json()["items"]) == (1, 4)
        assert not kept.exists()
    assert len(Searcher(run).stored.index) == 4


# What it says of itself


def test_metrics_are_as_prometheus_reads_them(served):
    client, _ = served
    send(client, b"nothing")
    client.get("/no/such/place")
    found = client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {one.name: one for one in text_string_to_metric_families(found.text)}
    samples = {
        tuple(sorted(one.labels.items())): one.value
        for one in families["nformer_requests"].samples
        if one.name == "nformer_requests_total"
    }
    bad = (("method", "POST"), ("route", "/search"), ("status", "400"))
    assert samples[bad] >= 1
    assert samples[("method", "other"), ("route", "other"), ("status", "404")] >= 1
    assert families["nformer_index_items"].samples[0].value == 8
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6


def test_openapi_describes_each_request(served):
    client, _ = served
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.")
    found = {(path, method) for path, ways in described["paths"].items() for method in ways}
    assert found == {
        ("/search", "post"), ("/items", "get"), ("/items", "post"), ("/items/{row}", "get"),
        ("/items/{row}", "delete"), ("/items/{row}/picture", "get"), ("/health", "get"),
        ("/metrics", "get"), ("/about", "get"),
    }  # fmt: skip
    for ways in described["paths"].values():
        for way in ways.values():
            assert way["description"]
            assert {"200", "403", "429"} <= set(way["responses"])
    references = set(_references(described))
    assert references
    for reference in references:
        part = described
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]
    for page in ("/docs", "/redoc"):  # FastAPI's load scripts from other sites
        assert client.get(page).status_code == 404


def _references(part):
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


# Malformed requests

KINDS = ("image/png", "image/jpeg", "application/json", "application/octet-stream", "text/plain")
TEXTS = (
    "", "1", "-1", "auto", "nan", "1e999", "../../etc/passwd", "0,0,9,9", "0,0,0,0", "9" * 40,
    "\x00", "é" * 9, "' or 1=1", "1,2,3", "-5,0,10,10", "٣", "null", "[]",
)  # fmt: skip
NAMES = ("row", "top", "crop", "camera", "threshold", "false_accept", "among", "since", "version")


def damaged(content: bytes, random) -> bytes:
    """A picture with bytes changed, cut off, or repeated; or bytes of no kind."""
    way, broken = random.integers(5), bytearray(content)
    if way == 0:
        return random.bytes(int(random.integers(2000)))
    if way == 1:
        return content[: random.integers(len(content))]
    if way == 2:
        return json.dumps({"features": [[1] * int(random.integers(9))] * 2}).encode() * 2
    if way == 3:
        return b'{"features":' * int(random.integers(1, 3000))
    for place in random.integers(len(broken), size=int(random.integers(1, 20))):
        broken[place] = random.integers(256)
    return bytes(broken)


def test_500_malformed_requests_harm_nobody(served):
    client, _ = served
    random = np.random.default_rng(0)
    good, kinds = png(picture(3)), ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
    wanted, statuses = send(client, good).json()["hits"], []
    pictures = [png(picture(50 + number), kind) for number, kind in enumerate(kinds)]
    for number in range(500):
        content = damaged(pictures[number % len(pictures)], random)
        params = {
            str(name): TEXTS[random.integers(len(TEXTS))]
            for name in random.choice(NAMES, int(random.integers(4)), replace=False)
        }
        kind = KINDS[random.integers(len(KINDS))]
        found = send(client, content, kind=kind, **params)
        statuses.append(found.status_code)
        assert found.status_code in (200, 400, 413, 415, 422), (number, params, found.text)
        if number % 50 == 0:
            assert send(client, good).json()["hits"] == wanted
    assert statuses.count(400) > 100
    assert client.get("/health").json()["status"] == "ok"
    assert send(client, good).json()["hits"] == wanted
