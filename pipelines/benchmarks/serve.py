"""A server under load: one picture at a time, 64 clients for two minutes, and a million items."""

import asyncio
import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..artifacts.manifest import Manifest
from ..artifacts.run import Run
from ..backbones.as_is import architecture
from ..embeddings import Embeddings
from ..errors import PipelineError
from ..gallery.index import build_index
from ..gallery.index_file import save_index
from ..neighbours.checked import unit_rows
from ..neighbours.exact import top_k
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..progress import Progress
from ..refiners.closed_form import ClosedForm
from ..seeding import numpy_generator
from ..stages.index_pictures import index_pictures
from .child import measured
from .nformer import crowd
from .record import Record

ARCH, WIDTH_OF_IT = "osnet_x0_25", 512
GALLERY, MILLION, NARROW = 20_000, 1_000_000, 64
CLIENTS, SECONDS, ALONE, TOP = 64, 120.0, 200, 20
COLUMNS = ["", "here", "goal"]
PAINT = "performance.getEntriesByType('paint').map(one => one.startTime)"


def measure(*, quick: bool, progress: Progress) -> Record:
    """Start servers of made-up runs, ask them, and watch their memory."""
    require_packages()
    others = os.getloadavg()[0]
    scale, seconds = (20, 3.0) if quick else (1, SECONDS)
    with (
        tempfile.TemporaryDirectory(prefix="nformer-") as name,
        progress.task("benchmark", 5, unit="measurements") as task,
    ):
        folder = Path(name)
        measured("serve", "write_run", folder=name, rows=GALLERY // scale)
        task.advance()
        with server(folder / "run") as (port, process):
            before, count = processor_seconds(process.pid), ALONE // scale
            alone = asyncio.run(asked(port, pictures(count), clients=1))
            each = (processor_seconds(process.pid) - before) / count
            task.advance()
            busy = asyncio.run(under_load(port, process.pid, seconds=seconds))
            paint = first_paint(port)
            task.advance()
        measured("serve", "write_million", folder=name, rows=MILLION // scale)
        task.advance()
        huge = million(folder, rows=MILLION // scale)
        task.advance()
    size, many = f"{GALLERY // scale:,}", f"{MILLION // scale:,}"
    rows = [
        [f"one picture, gallery of {size}, nobody else asking: p50", ms(alone, 50), "≤ 50 ms"],
        ["the same: p95", ms(alone, 95), "–"],
        ["processor time of each of these", f"{1000 * each:.0f} ms", "–"],
        [f"{CLIENTS} clients for {seconds:.0f} s: p50", ms(busy["seconds"], 50), "–"],
        ["the same: p95", ms(busy["seconds"], 95), "–"],
        ["the same: p99", ms(busy["seconds"], 99), "–"],
        ["pictures a second", f"{len(busy['seconds']) / busy['spent']:.1f}", "–"],
        ["answers other than 200", f"{busy['failed']}", "0"],
        [
            "memory, after a quarter and at the end",
            "{:.0f}, {:.0f} MiB".format(*busy["memory"]),
            "flat",
        ],
        ["first paint of the page", "–" if paint is None else f"{paint:.0f} ms", "≤ 1 s"],
        [f"one query of {many} items, {NARROW} wide: p50", ms(huge["seconds"], 50), "≤ 100 ms"],
        ["the same: p95", ms(huge["seconds"], 95), "–"],
        [f"share of the true {TOP} nearest found", f"{huge['recall']:.3f}", "≥ 0.95"],
        ["lists made, at the first start", f"{huge['first']:.0f} s", "–"],
        ["a later start", f"{huge['later']:.1f} s", "–"],
    ]
    notes = [
        f"Pictures are JPEG files of 64 × 128, each another one; the network is {ARCH} with random "
        f"weights, {WIDTH_OF_IT} wide, and the gallery is refined by the closed form. Clients wait "
        "for each answer before they ask again, and share the cores with the server. Threads that "
        f"compute: {torch.get_num_threads()}. Load by other programs when it began: {others:.1f}.",
        f"Of the million: {huge['said']} Queries are items of it with noise added, sent as "
        "features; nothing is refined.",
    ]
    return Record("A server of searches", COLUMNS, rows, notes)


def require_packages() -> None:
    """Raise PipelineError where the extra is not installed."""
    if find_spec("uvicorn") is None or find_spec("fastapi") is None:
        raise PipelineError("needs its packages: python -m pip install 'nformer[serve]'")


def ms(seconds: Sequence[float], percentile: float) -> str:
    """Return a percentile of some seconds in milliseconds."""
    return f"{1000 * float(np.percentile(seconds, percentile)):.0f} ms"


# The runs, each written by a process of its own


def write_run(*, folder: str, rows: int) -> dict[str, float]:
    """Write a run whose index holds made-up items under the name of a network of pictures."""
    place = Path(folder)
    torch.manual_seed(0)
    weights, crops = place / "osnet.pth", place / "crops"
    torch.save(architecture(ARCH).build(size=(256, 128), feature="").state_dict(), weights)
    crops.mkdir()
    for number, content in enumerate(pictures(2)):
        (crops / f"{number}.jpg").write_bytes(content)
    run = Run(place / "run")
    index_pictures(run, crops, arch=ARCH, weights=weights)
    manifest = run.require_manifest("index.h5")
    wider = numpy_generator(0, "wider").standard_normal((crowd(2).shape[1], WIDTH_OF_IT))
    features = crowd(rows) @ wider.astype(np.float32)
    choice: dict[str, Any] = {"centre": "camera", "shrinkage": 0.6, "neighbours": 8}
    closed_form = ClosedForm(dim=WIDTH_OF_IT, **choice, per_camera=True, layers=2)
    model = NFormerOnClosedForm.joined(closed_form, None, share=0)
    names = [f"{row % 2}.jpg" for row in range(rows)]
    people = Embeddings(features, np.arange(rows) // 20, np.arange(rows) % 6, names)
    with run.writing(dataclasses.replace(manifest)) as (path, _):
        save_index(path, build_index(people, model))
    return {}


def write_million(*, folder: str, rows: int) -> dict[str, float]:
    """Write a run whose index holds many narrow items, searched as they are."""
    run, unknown = Run(Path(folder) / "million"), np.full(rows, -1)
    features = unit_rows(crowd(rows)[:, :NARROW], "the crowd")
    names = [f"{row:07d}.jpg" for row in range(rows)]
    facts = {"dataset": "", "root": "", "calibration": None, "added": 0, "removed": 0}
    with run.writing(Manifest("index.h5", "index", {}, {}, facts)) as (path, _):
        save_index(path, build_index(Embeddings(features, unknown, unknown, names), None))
    random = numpy_generator(0, "asking")
    chosen = random.choice(rows, min(ALONE, rows), replace=False)
    noise = 0.3 / NARROW**0.5 * random.standard_normal((len(chosen), NARROW))
    asking = unit_rows(features[chosen] + noise.astype(np.float32), "queries")
    np.savez(Path(folder) / "asking.npz", asking=asking, true=top_k(asking, features, k=TOP)[1])
    return {}


def pictures(count: int, *, first: int = 0) -> list[bytes]:
    """Return small pictures as JPEG, each another one."""
    found = []
    for number in range(first, first + count):
        random = numpy_generator(number, "picture")
        coarse = random.integers(0, 256, (16, 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((64, 128)).save(file, format="JPEG", quality=90)
        found.append(file.getvalue())
    return found


# Servers and their clients


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Yield the port and the process of `nformer serve`."""
    command = [sys.executable, "-m", "nformer_cli.main", "serve", "--run", str(folder)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [*command, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stderr is not None
    try:
        said = []
        for line in process.stderr:
            said.append(line.strip())
            if port := re.search(r"serving http://127\.0\.0\.1:(\d+)/", line):
                yield int(port[1]), process
                break
        else:
            raise PipelineError(f"the server does not start: {' '.join(said[-3:])}")
    finally:
        process.terminate()
        process.wait()


async def asked(
    port: int, contents: Sequence[bytes], *, clients: int, kind: str = "image/jpeg"
) -> list[float]:
    """Return the seconds of each answer to some contents, the first few left out."""
    found = await asyncio.gather(
        *(_client(port, contents[part::clients], kind=kind) for part in range(clients))
    )
    return [seconds for one in found for seconds, _ in one[5:] or one]


async def _client(
    port: int, contents: Sequence[bytes], *, kind: str, until: float = float("inf")
) -> list[tuple[float, dict[str, Any] | None]]:
    """Ask one content after another on one connection: seconds and answer, None where not 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found: list[tuple[float, dict[str, Any] | None]] = []
    for content in contents:
        if time.monotonic() >= until:
            break
        begun = time.perf_counter()
        head = f"POST /search?top={TOP} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer)
        body = await reader.readexactly(int(length[1]) if length else 0)
        good = answer.startswith(b"HTTP/1.1 200 ")
        found.append((time.perf_counter() - begun, json.loads(body) if good else None))
    writer.close()
    return found


async def under_load(port: int, pid: int, *, seconds: float) -> dict[str, Any]:
    """Let many clients ask for a while; returns what they waited, and the server's memory."""
    own = pictures(256, first=10_000)
    begun = time.monotonic()
    until = begun + seconds
    many = [own[number % 256 :] + own[: number % 256] for number in range(0, 256, 256 // CLIENTS)]
    clients = [
        asyncio.create_task(_client(port, one * 1000, kind="image/jpeg", until=until))
        for one in many
    ]
    await asyncio.sleep(seconds / 4)
    early = resident(pid)
    answers = [one for found in await asyncio.gather(*clients) for one in found]
    return {
        "seconds": [spent for spent, answer in answers],
        "failed": sum(answer is None for _, answer in answers),
        "spent": time.monotonic() - begun,
        "memory": (early, resident(pid)),
    }


def million(folder: Path, *, rows: int) -> dict[str, Any]:
    """Start a server of many items twice, and ask it."""
    run, spent, said = folder / "million", [], ""
    with np.load(folder / "asking.npz") as file:
        asking, true = file["asking"], file["true"]
    contents = [json.dumps({"features": row.tolist()}).encode() for row in asking]
    for _ in range(2):
        begun = time.monotonic()
        with server(run) as (port, _):
            spent.append(time.monotonic() - begun)
            answers = asyncio.run(_client(port, contents, kind="application/json"))
            said = asyncio.run(_about(port))["approximate"]
    found = [[hit["row"] for hit in answer["hits"]] for _, answer in answers if answer]
    shares = [len({*a} & {*b.tolist()}) / TOP for a, b in zip(found, true, strict=True)]
    return {
        "seconds": [one for one, _ in answers],
        "recall": float(np.mean(shares)),
        "first": spent[0],
        "later": spent[1],
        "said": said,
    }


async def _about(port: int) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /about HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def resident(pid: int) -> float:
    """Return a process's resident memory that is no file's, in MiB; 0 where the system hides it."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(one.split()[1]) / 1024 for one in lines if one.startswith("RssAnon")), 0.0)


def processor_seconds(pid: int) -> float:
    """Return the seconds that a process has computed; 0 where the system hides it."""
    status = Path(f"/proc/{pid}/stat")
    if not status.exists():
        return 0.0
    fields = status.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_paint(port: int) -> float | None:
    """Return the milliseconds until the page is seen; None without Playwright and Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None or find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=browser, args=flags)
        page = opened.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#hits li")
        found = page.evaluate(PAINT)
        opened.close()
    return max(found, default=None)
