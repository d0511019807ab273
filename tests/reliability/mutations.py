"""Inputs that are cut, flipped, or hold what they should not: a result or a sentence, no more."""

import io
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from pipelines.artifacts.backbone import load_backbone, save_backbone
from pipelines.artifacts.checkpoints import load_untrusted
from pipelines.artifacts.formats.reading import read_embedding_files
from pipelines.artifacts.nformer import load_nformer, save_nformer
from pipelines.backbones.backbone import build_backbone
from pipelines.backbones.state_dicts import load_weights
from pipelines.data.folder_and_csv import read_csv
from pipelines.data.images import read_image
from pipelines.errors import PipelineError
from pipelines.nformer.model import NFormer
from pipelines.settings import read_recipe

from .counts import Counts

ROUNDS = 10  # in CI, of TRIALS each
TRIALS = 100
SECONDS = 20  # until a reader hangs
FACTS = {"arch": "osnet_x0_25", "last_stage": "dilated", "dim": 8, "classes": 3}
STRANGE = (
    *(None, True, -1, 2**70, 1e308, float("nan"), "", "x", "\0", "\udc80", [], [[1]], {}),
    *(
        {"a": [None]},
        np.zeros((0, 3)),
        np.zeros(3, complex),
        np.full(12, 2**62),
        np.array(["", "é"]),
    ),
)


@dataclass(frozen=True)
class Kind:
    """A kind of file: how one is written, what a whole one holds, and how it is read.

    weight: how often it is tried; those read in a process of their own first take a second.
    """

    ending: str
    content: Any
    write: Callable[[Path, Any], Any]
    read: Callable[[Path], Any]
    weight: int = 8


def embeddings() -> dict[str, np.ndarray]:
    """Query and gallery of 12 rows, as most formats have them."""
    rows = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    found: dict[str, np.ndarray] = {}
    for split in ("query", "gallery"):
        found[f"{split}_features"], found[f"{split}_pids"] = rows, np.arange(12) // 2
        found[f"{split}_camids"] = np.arange(12) % 2
        found[f"{split}_names"] = np.array([f"{split}/{row}.jpg" for row in range(12)])
    return found


def whole(path: Path) -> None:
    """Read a file of embeddings to its end."""
    files = [path] if path.suffix != ".npy" else [path, path.with_suffix(".csv")]
    for parts in read_embedding_files(files, lambda _: None).values():
        for part in parts:
            rows = sum(len(block) for block in part.blocks())
            names = rows if part.names is None else sum(1 for _ in part.names())
            if not rows == names == len(part.pids):
                raise AssertionError(f"{rows} rows, {names} names, {len(part.pids)} pids")


def table(rows: list[list[str]]) -> bytes:
    return "\n".join(",".join(row) for row in rows).encode(errors="surrogateescape")


def _h5(path: Path, content: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            text = isinstance(value, np.ndarray) and value.dtype.kind == "U"
            file[name] = value.tolist() if text else value


def _npy(path: Path, content: Any) -> None:
    np.save(path, content["features"], allow_pickle=False)
    path.with_suffix(".csv").write_bytes(table(content["table"]))


def _parquet(path: Path, content: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(content), path)


def _checkpoint(path: Path, content: Any) -> None:
    torch.save({"meta": json.dumps(content["meta"]), "tensors": content["tensors"]}, path)


def _image(kind: str) -> Kind:
    picture = np.random.default_rng(0).integers(0, 255, (24, 16, 3)).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(picture).save(held, kind)
    return Kind(f".{kind}", held.getvalue(), Path.write_bytes, read_image, 2)


def kinds() -> list[Kind]:
    """Every kind of file that is read from anywhere."""
    rows = embeddings()
    lists = {key: torch.from_numpy(value) for key, value in rows.items() if value.dtype.kind != "U"}
    listed = [["path", "pid", "camid", "split"]]
    listed += [
        [f"{row}.jpg", f"{row // 2}", "1", "query" if row < 6 else "gallery"] for row in range(12)
    ]
    columns = dict(zip(listed[0], zip(*listed[1:], strict=True), strict=True))
    columns = {name: list(column) for name, column in columns.items()}
    matlab = {
        f"{split}_{short}": rows[f"{split}_{name}"]
        for split in ("query", "gallery")
        for short, name in (("f", "features"), ("label", "pids"), ("cam", "camids"))
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "x.pt"
        save_nformer(place, NFormer(dim=8, classes=3, layers=1))
        nformer = _opened(place)
        backbone = build_backbone(FACTS["arch"], classes=3, dim=8)
        save_backbone(place, backbone, facts={**FACTS, "height": 32, "width": 16})
        ours = _opened(place)
    weights = backbone.body.state_dict()

    def load(path: Path) -> None:
        load_weights(backbone, load_untrusted(path), source=str(path))

    savez = lambda path, content: np.savez(path, **content)  # noqa: E731
    packed = lambda path, content: np.savez_compressed(path, **content)  # noqa: E731
    save = lambda path, content: torch.save(content, path)  # noqa: E731
    return [
        Kind(".npz", rows, savez, whole, 14),
        Kind(".npz", rows, packed, whole, 14),
        Kind(".npy", {"features": rows["query_features"], "table": listed}, _npy, whole, 14),
        Kind(
            ".parquet",
            {**columns, "features": rows["query_features"].tolist()},
            _parquet,
            whole,
            14,
        ),
        Kind(".pt", lists, save, whole, 14),
        Kind(".mat", matlab, savemat, whole, 1),
        Kind(".h5", rows, _h5, whole, 1),
        Kind(".csv", listed, lambda path, content: path.write_bytes(table(content)), read_csv, 10),
        Kind(".pt", nformer, _checkpoint, load_nformer, 14),
        Kind(".pt", ours, _checkpoint, load_backbone, 6),
        Kind(".pth", {"state_dict": weights}, save, load, 6),
        Kind(
            ".toml",
            b"[nformer]\nsteps = 3\n[evaluate]\nrerank = ['kr']\n",
            Path.write_bytes,
            lambda path: read_recipe(str(path)),
            6,
        ),
        *map(_image, ("jpeg", "png", "tiff", "gif", "bmp", "webp", "ppm", "jpeg2000")),
    ]


def _opened(path: Path) -> dict[str, Any]:
    content = torch.load(path, weights_only=True)
    return {"meta": json.loads(content["meta"]), "tensors": content["tensors"]}


def altered(content: Any, chance: random.Random) -> Any:
    """Return a table or a list with one thing in it, somewhere, gone, renamed or another."""
    if isinstance(content, dict) and content:
        key = chance.choice(list(content))
        if chance.random() < 0.5 and isinstance(content[key], dict | list):
            return {**content, key: altered(content[key], chance)}
        rest = {name: value for name, value in content.items() if name != key}
        return chance.choice(
            [rest, {**rest, f"{key}x": content[key]}, {**rest, key: chance.choice(STRANGE)}]
        )
    if isinstance(content, list) and content:
        row = chance.randrange(len(content))
        if isinstance(content[row], list):
            return [*content[:row], altered(content[row], chance), *content[row + 1 :]]
        return [*content[:row], str(chance.choice(STRANGE)), *content[row + 1 :]]
    return chance.choice(STRANGE)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return bytes that are flipped, cut, blanked, or stand twice."""
    start = chance.randrange(len(content)) if content else 0
    length = chance.choice([1, 4, 64, 1024])
    match chance.randrange(4):
        case 0:
            found = bytearray(content)
            for _ in range(chance.choice([1, 1, 8]) if content else 0):
                found[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            return bytes(found)
        case 1:
            return content[:start]
        case 2:
            return content[:start] + bytes(length) + content[start + length :]
    return content[: start + length] + content[start:]


def mutated(kind: Kind, path: Path, chance: random.Random) -> str:
    """Write a file of a kind that is not as it should be; return what was done to it."""
    if not isinstance(kind.content, bytes) and chance.random() < 0.5:
        try:
            kind.write(path, altered(kind.content, chance))
            return "altered"
        except Exception:  # what the format cannot hold
            pass
    kind.write(path, kind.content)
    places = [one for one in (path, path.with_suffix(".csv")) if one.exists()]
    place = chance.choice(places)
    place.write_bytes(damaged(place.read_bytes(), chance))
    return "damaged"


def read_of(kind: Kind, path: Path) -> str:
    """Read a file; return what went wrong, "" where it was read or refused in a sentence."""
    try:
        kind.read(path)
    except PipelineError as error:
        text = str(error)
        if "\n" in text or path.stem not in text:
            return f"a sentence that names no file, or of several lines: {text[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def campaign(seed: int, deadline: float, *, rounds: int | None = None) -> Counts:
    """Try TRIALS files a round, in a child, which may crash or hang, until time or rounds end."""
    counts, found, done = Counts(), kinds(), 0
    while time.monotonic() < deadline and (rounds is None or done < rounds):
        for what, problem in _in_children(found, seed * 1_000_003 + done):
            counts.add(what, problem)
        done += 1
    return counts


def _in_children(found: list[Kind], seed: int) -> Iterator[tuple[str, str]]:
    """Yield what was done and what went wrong, of each trial."""
    first = 0
    while first < TRIALS:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            try:
                _trials(found, seed, first=first, writer=writer)
            finally:
                os._exit(0)
        os.close(writer)
        last = ""
        with os.fdopen(reader) as lines:
            for line in lines:
                what, problem = json.loads(line)
                if problem is None:
                    last = what
                    continue
                first += 1
                yield what, problem
        _, status = os.waitpid(child, 0)
        if first < TRIALS:
            code = os.waitstatus_to_exitcode(status)
            yield last, "it hangs" if -code == signal.SIGALRM else f"it crashes ({code})"
            first += 1


def _trials(found: list[Kind], seed: int, *, first: int, writer: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, os.fdopen(writer, "w") as told:
        for trial in range(first, TRIALS):
            chance = random.Random(seed * TRIALS + trial)
            kind = chance.choices(found, [one.weight for one in found])[0]
            path = Path(folder) / f"trial{trial}{kind.ending}"
            what = f"{kind.ending} {mutated(kind, path, chance)}, seed {seed}, trial {trial}"
            print(json.dumps([what, None]), file=told, flush=True)
            signal.alarm(SECONDS)
            problem = read_of(kind, path)
            signal.alarm(0)
            print(json.dumps([what, problem]), file=told, flush=True)
            path.unlink(missing_ok=True)
