"""embeddings.h5 or refined.h5 -> .npz, .npy, .parquet, .mat or .faiss for other programs"""

import os
from collections.abc import Sequence
from pathlib import Path

from ..artifacts.formats.hdf5_files import read_h5
from ..artifacts.formats.writing import files_of, format_of, write_embedding_files
from ..artifacts.run import Run, require_run
from ..embeddings import SPLITS
from ..errors import BadInput
from ..progress import Progress, Silent

ARTIFACTS = {"raw": "embeddings.h5", "refined": "refined.h5"}
DTYPES = ("auto", "float16", "float32", "float64")


def export_embeddings(
    run: Run,
    file: str | os.PathLike[str],
    *,
    format: str = "auto",
    stage: str = "raw",
    splits: Sequence[str] = (),
    dtype: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Write a run's embeddings to a file. Returns its path.

    An .npy and a .faiss get a .csv of `path,pid,camid,split` beside them; a FAISS index is exact,
    of rows of length 1, whose ids are the lines of the .csv, counted from 0. Camera ids are left
    out where none are known. What was imported leaves with the same bytes, in float16, float32 or
    float64.

    format: npz, npy, parquet, mat or faiss; auto: the file's ending.
    stage:  raw (embeddings.h5) or refined (refined.h5).   splits: all there are, if none is given.
    dtype:  auto is float16 or float64 for raw embeddings that were imported so (a .mat holds no
            float16), and float32 for all others.

    Raises:
        BadInput: an ending, stage, split or type that is unknown, or a file that is there already.
        MissingArtifact: the run has no such embeddings.
    """
    require_run(run, "export_embeddings")
    path = Path(file)
    format = format_of(path, format)
    _require_known("--stage", stage, known=tuple(ARTIFACTS))
    _require_known("--dtype", dtype, known=DTYPES)
    source = run.artifact(ARTIFACTS[stage])
    chosen = read_h5(source, progress.warn, labelled=True)
    present = [split.split for split in chosen]
    for split in splits:
        _require_known("--split", split, known=tuple(name for name in SPLITS if name in present))
    chosen = [split for split in chosen if not splits or split.split in splits]
    for companion in files_of(path, format):
        if companion.exists() and not overwrite:
            raise BadInput(f"{companion} is there already; add --overwrite to replace it")
    if dtype == "auto":
        imported = run.facts(source.name).get("source_dtype", "") if stage == "raw" else ""
        half = imported == "float16" and format != "mat"
        dtype = "float64" if "float64" in imported else "float16" if half else "float32"
    if format == "faiss":  # which holds nothing else
        dtype = "float32"
    with progress.task(f"export {stage}", sum(map(len, chosen)), unit="rows") as task:
        write_embedding_files(path, chosen, format=format, dtype=dtype, advance=task.advance)
    return path


def _require_known(option: str, value: str, *, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadInput(f"{option} {value}: not known; wanted {', '.join(known)}")
