"""embeddings.h5 or refined.h5 -> .npz, .npy + .csv, .parquet or .mat for other programs"""

import os
from collections.abc import Sequence
from pathlib import Path

from ..artifacts.formats.hdf5_files import read_h5
from ..artifacts.formats.writing import write_embedding_files
from ..artifacts.run import Run
from ..embeddings import SPLITS
from ..errors import BadInput
from ..progress import Progress, Silent

ARTIFACTS = {"raw": "embeddings.h5", "refined": "refined.h5"}
DTYPES = ("auto", "float16", "float32", "float64")


def export_embeddings(
    run: Run,
    file: str | os.PathLike[str],
    *,
    stage: str = "raw",
    splits: Sequence[str] = (),
    dtype: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Write a run's embeddings to a file whose ending names the format. Returns its path.

    An .npy gets a .csv of `path,pid,camid,split` beside it. Camera ids are left out where none
    are known. What was imported leaves with the same bytes, in float16, float32 or float64.

    stage:  raw (embeddings.h5) or refined (refined.h5).   splits: all there are, if none is given.
    dtype:  auto is float16 or float64 for raw embeddings that were imported so (a .mat holds no
            float16), and float32 for all others.

    Raises:
        BadInput: an ending, stage, split or type that is unknown, or a file that is there already.
        MissingArtifact: the run has no such embeddings.
    """
    path = Path(file)
    _require_known("--stage", stage, known=tuple(ARTIFACTS))
    _require_known("--dtype", dtype, known=DTYPES)
    source = run.artifact(ARTIFACTS[stage])
    chosen = read_h5(source, progress.warn, labelled=True)
    present = [split.split for split in chosen]
    for split in splits:
        _require_known("--split", split, known=tuple(name for name in SPLITS if name in present))
    chosen = [split for split in chosen if not splits or split.split in splits]
    companions = [path, path.with_suffix(".csv")] if path.suffix.lower() == ".npy" else [path]
    for companion in companions:
        if companion.exists() and not overwrite:
            raise BadInput(f"{companion} is there already; add --overwrite to replace it")
    if dtype == "auto":
        imported = run.facts(source.name).get("source_dtype", "") if stage == "raw" else ""
        half = imported == "float16" and path.suffix.lower() != ".mat"
        dtype = "float64" if "float64" in imported else "float16" if half else "float32"
    with progress.task(f"export {stage}", sum(map(len, chosen)), unit="rows") as task:
        write_embedding_files(path, chosen, dtype=dtype, advance=task.advance)
    return path


def _require_known(option: str, value: str, *, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadInput(f"{option} {value}: not known; wanted {', '.join(known)}")
