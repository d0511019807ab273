"""Flipped bits and cut files: what reads a file refuses it, or answers as if nothing had happened.

First each artifact and manifest, many times, at the door that every command goes through; then the
commands themselves; then what an interrupted command goes on from, which is to be made again.
"""

import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

from .commands import WRITES, Ended, Fork, Templates, forked, left_over, made
from .counts import Counts

ROUNDS = 2  # in CI
FLIPS = 20  # of each artifact and of each manifest, in a round, at the door
CUT = 0.2  # the share of files that are cut instead
SEARCH = "search {folder}/more.npz --json"
EVALUATE = "evaluate --rerank kr --refine nformer --device cpu --json"
EXTRACT = "extract --batch 16 --workers 0 --device cpu --overwrite"
READ = {  # of each command: what makes its run from which template, and the files that it reads
    SEARCH: ("index", "before index", ("index.h5", "index.h5.json")),
    EVALUATE: (
        "report",
        "after evaluate",
        ("embeddings.h5", "nformer.pt", "refined.h5", "graph.h5", "metrics.json", "ranking.h5"),
    ),
    EXTRACT: ("pack", "after train-backbone", ("images.h5", "backbone.pt", "images.h5.json")),
}
RESUMED = ("train-nformer", "train-backbone", "extract")


def campaign(seed: int, deadline: float, *, templates: Templates, rounds: int | None = None):
    """Damage one file at a time, until the deadline or for so many rounds."""
    counts, chance, number = Counts(), random.Random(seed), 0
    right = {words: _prepared(words, templates) for words in READ}
    for name in RESUMED:
        _interrupted(name, templates)
    while number < rounds if rounds is not None else time.monotonic() < deadline:
        for words, (_, _, names) in READ.items():
            counts += at_the_door(templates.copy_of(_template(words), "read"), chance)
            for name in names:
                place = templates.copy_of(_template(words), "damaged")
                what = damage(place / "run" / name, chance)
                ended = forked(words, place, first=small_blocks).end()
                counts.add(what, _problem(ended, words, place, right=right[words]))
        for name in RESUMED:
            counts.add(*resumed(name, templates, chance))
        number += 1
    return counts


def damage(path: Path, chance: random.Random) -> str:
    """Flip one bit of a file, or cut it; return what was done."""
    content = bytearray(path.read_bytes())
    bit = chance.randrange(8 * len(content))
    if chance.random() < CUT:
        path.write_bytes(content[: bit // 8])
        return f"{path.name}, cut after {bit // 8} bytes"
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return f"{path.name}, bit {bit}"


def at_the_door(place: Path, chance: random.Random) -> Counts:
    """Damage every artifact of a run and its manifest `FLIPS` times, and ask the run for it."""
    seed = chance.randrange(2**32)
    ended = Fork(lambda: print(json.dumps(vars(_at_the_door(place, random.Random(seed)))))).end()
    if ended.problem(0):
        return Counts(1, [f"{place.name}: {ended.problem(0)}"])
    return Counts(**json.loads(ended.text.splitlines()[-1]))


def _at_the_door(place: Path, chance: random.Random) -> Counts:
    from pipelines.artifacts.run import MAPPED, Run
    from pipelines.errors import BadInput

    small_blocks()
    counts, folder = Counts(), place / "run"
    for path in sorted(
        path for path in folder.iterdir() if (folder / f"{path.name}.json").exists()
    ):
        wanted = Run(folder).manifest(path.name)
        for file in (path, folder / f"{path.name}.json"):
            content = file.read_bytes()
            for _ in range(FLIPS):
                what, problem = damage(file, chance), ""
                try:
                    run = Run(folder)
                    if path.name in MAPPED:
                        blocks, _ = run.mapped(path.name)
                        blocks.check(0, blocks.size)
                    else:
                        run.artifact(path.name)
                    if file == path or run.manifest(path.name) != wanted:
                        problem = "accepted"
                except BadInput:
                    pass
                counts.add(what, problem)
                file.write_bytes(content)
    return counts


def resumed(name: str, templates: Templates, chance: random.Random) -> tuple[str, str]:
    """Damage what an interrupted command goes on from; return what was done, and the problem."""
    place = templates.copy_of(f"interrupted {name}", "damaged")
    files = [path for path in (place / "run" / ".unfinished").rglob("*") if path.is_file()]
    what = f"{name}: {damage(chance.choice(sorted(files)), chance)}"
    ended = forked(name, place).end()
    same = made(name, place) == templates.wanted(name)
    return what, ended.problem(0) or left_over(place) or ("" if same else "another file was made")


def small_blocks() -> None:
    """Let even small files have many blocks, each compared only once it is touched."""
    import pipelines.blocks

    pipelines.blocks.BLOCK, pipelines.blocks.SMALL = 4096, 0


def _template(words: str) -> str:
    return f"read by {words.split()[0]}"


def _prepared(words: str, templates: Templates) -> Any:
    """Make the run that a command reads; return what it answers there."""
    making, before, _ = READ[words]
    name = _template(words)
    shutil.copytree(templates.folder / before, templates.place(name), dirs_exist_ok=True)
    ended = forked(making, templates.place(name), first=small_blocks).end()
    assert ended.code == 0, ended.text
    place = templates.copy_of(name, "damaged")
    return _answer(forked(words, place, first=small_blocks).end(), words, place)


def _interrupted(name: str, templates: Templates) -> None:
    """Make a run in which a command ended just before it could write what it had made."""
    place = templates.copy(name, f"interrupted {name}")

    def stop(run: Any, wanted: Any) -> None:
        raise SystemExit(9)

    def first() -> None:
        from pipelines.artifacts.run import Run

        Run.writing = stop  # type: ignore[assignment]

    ended = forked(name, place, first=first).end()
    assert ended.code == 9, ended.text
    assert (place / "run" / ".unfinished" / WRITES[name]).is_dir()


def _answer(ended: Ended, words: str, place: Path) -> Any:
    assert ended.code == 0, ended.text
    if words == EXTRACT:
        return (place / "run" / "embeddings.h5").read_bytes()
    found = json.loads(next(line for line in ended.text.splitlines() if line.startswith("{")))
    return found["answers"] if words == SEARCH else [row["mAP"] for row in found["results"]]


def _problem(ended: Ended, words: str, place: Path, *, right: Any) -> str:
    if ended.code or ended.problem(0):
        return ended.problem(2)
    return "" if _answer(ended, words, place) == right else "another answer"
