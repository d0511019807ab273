"""backbone.pt + the data set's images -> embeddings.h5"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..artifacts.atomic import replacing, write_text
from ..artifacts.backbone import load_backbone
from ..artifacts.embeddings import create_embeddings, create_split
from ..artifacts.manifest import Manifest, text_digest
from ..artifacts.run import Run
from ..config import ExtractConfig, as_table
from ..data.augment import normalise
from ..data.batches import BatchLoader, ordered_batches
from ..data.dataset import Dataset, Sample
from ..device import choose_device
from ..errors import BadInput
from ..models.embedder import Embedder
from ..progress import Progress, Silent
from ..training.overlap import one_behind
from ..training.precision import DTYPES, choose_precision
from .images import Sources, dataset_facts, find_dataset, image_sources, skipped_text

ARTIFACT = "embeddings.h5"
CHUNK = 1024  # images embedded between two points that an interrupted extraction goes on from
EXECUTION_ONLY = ("workers",)  # settings that change no result


def extract(
    run: Run,
    *,
    config: ExtractConfig = ExtractConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
    dataset: str | None = None,
    root: str | Path | None = None,
) -> Path:
    """Embed every image of a data set, without augmentation; return the path of embeddings.h5.

    dataset, root: the data set; None: the one that the backbone was trained on, where it was.
    """
    backbone_file = run.artifact("backbone.pt")
    data = find_dataset(run, dataset, root, progress)
    wanted = Manifest(
        ARTIFACT,
        "extract",
        {key: value for key, value in as_table(config).items() if key not in EXECUTION_ONLY},
        {"backbone.pt": run.digest("backbone.pt"), "image list": data.digest()},
        facts=dataset_facts(data),
    )
    if run.is_current(wanted, overwrite=overwrite):
        run.clear_scratch(ARTIFACT)
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return run.path(ARTIFACT)
    chosen = choose_device(device)
    precision = choose_precision(config.amp, chosen)
    backbone, facts = load_backbone(backbone_file)
    embedder = Embedder(backbone, device=chosen, dtype=DTYPES[precision], flip=config.flip)
    sources = image_sources(run, data, progress, height=facts["height"], width=facts["width"])
    work = Extraction(data, sources, embedder, config, progress)
    work.resume_in(run.scratch(ARTIFACT), key=text_digest(wanted.to_json()))
    work.embed_all()
    with run.writing(wanted) as (temporary, recorded):
        work.assemble(temporary, dim=facts["dim"])
        recorded.update(work.facts(), device=str(chosen), precision=precision)
    run.clear_scratch(ARTIFACT)
    return run.path(ARTIFACT)


class Extraction:
    """One pass over a data set's splits in chunks, each a file that survives an interruption."""

    def __init__(
        self,
        dataset: Dataset,
        sources: Sources,
        embedder: Embedder,
        config: ExtractConfig,
        progress: Progress,
    ) -> None:
        self.dataset, self.sources, self.embedder = dataset, sources, embedder
        self.config, self.progress = config, progress
        self.skipped: dict[str, str] = {}
        self.seconds = 0.0
        self.embedded = 0
        self.folder = Path()

    def resume_in(self, folder: Path, *, key: str) -> None:
        """Keep the chunks in `folder`, dropping those of another extraction than `key`."""
        mark = folder / "key"
        if not mark.exists() or mark.read_text(encoding="utf-8") != key:
            shutil.rmtree(folder)
            folder.mkdir(parents=True)
            write_text(mark, key)
        self.folder = folder

    def embed_all(self) -> None:
        """Embed every chunk that is not there yet."""
        splits = {name: self.dataset.split(name) for name in self.dataset.filled_splits()}
        total = sum(map(len, splits.values()))
        with self.progress.task("embed", total, "images") as task:
            for split, samples in splits.items():
                for rows in chunks(samples):
                    path = self._path(split, rows)
                    if not path.exists():
                        self._embed_chunk(path, samples, rows, task)
                    else:
                        task.advance(len(rows))
        if self.embedded:
            rate = self.embedded / max(self.seconds, 1e-9)
            self.progress.message(
                f"embedded {self.embedded} images in {self.seconds:.1f} s: {rate:.1f} images/s"
            )

    def _embed_chunk(self, path: Path, samples: Sequence[Sample], rows: range, task: Any) -> None:
        source = self.sources([samples[row].name for row in rows])
        pinned = self.embedder.device.type == "cuda"
        policy = self.config.on_bad_image
        loader = BatchLoader(source, workers=self.config.workers, on_bad_image=policy, pin=pinned)
        start = time.perf_counter()
        found, kept = [], []
        for batch_rows, features in embed_rows(self.embedder, loader, len(rows), self.config.batch):
            found.append(features)
            kept.append(batch_rows)
            self.embedded += len(batch_rows)
            rate = self.embedded / (self.seconds + time.perf_counter() - start)
            task.advance(len(batch_rows), rate=rate)
        task.advance(len(loader.skipped))
        self.seconds += time.perf_counter() - start
        features = np.concatenate(found) if found else np.empty((0, 0), np.float32)
        index = np.concatenate(kept) if kept else np.empty(0, np.int64)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, features=features, rows=index, skipped=json.dumps(loader.skipped))

    def assemble(self, path: Path, *, dim: int) -> None:
        """Write all chunks to `path` as embeddings.h5, in the data set's order."""
        with create_embeddings(path, dim=dim, dataset=self.dataset.name) as file:
            for split in self.dataset.filled_splits():
                samples = self.dataset.split(split)
                kept = self._kept_rows(split, samples)
                if not len(kept):
                    raise BadInput(f"none of the {len(samples)} {split} images could be read")
                labels = [samples[row] for row in kept]
                names, pids, camids = (np.array(column) for column in zip(*labels, strict=True))
                group = create_split(file, split, names, pids, camids)
                start = 0
                for _, features, _ in self._chunks(split, samples):
                    if len(features):
                        group["features"][start : start + len(features)] = features
                    start += len(features)

    def facts(self) -> dict[str, Any]:
        """Return what the manifest tells beside the artifact's identity."""
        skipped = dict(sorted(self.skipped.items()))
        if skipped:
            self.progress.warn(skipped_text(skipped))
        return {"skipped": skipped, "seconds": round(self.seconds, 3)}

    def _kept_rows(self, split: str, samples: Sequence[Sample]) -> np.ndarray:
        found = []
        for rows, _, skipped in self._chunks(split, samples):
            found.append(rows)
            self.skipped.update(skipped)
        return np.concatenate(found)

    def _chunks(
        self, split: str, samples: Sequence[Sample]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, str]]]:
        for rows in chunks(samples):
            with np.load(self._path(split, rows), allow_pickle=False) as file:
                yield file["rows"] + rows.start, file["features"], json.loads(str(file["skipped"]))

    def _path(self, split: str, rows: range) -> Path:
        return self.folder / f"{split}-{rows.start:09d}.npz"


def embed_rows(
    embedder: Embedder, loader: BatchLoader, rows: int, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows read, [B] int64, and their embeddings, [B, dim] float32, batch by batch."""

    def queued() -> Iterator[tuple[np.ndarray, Tensor]]:
        for batch in loader.iterate(ordered_batches(rows, size)):
            images = normalise(batch.images.to(embedder.device, non_blocking=True))
            yield batch.rows, embedder(images)

    for read, embeddings in one_behind(queued()):
        yield read, embeddings.cpu().numpy()


def chunks(samples: Sequence[Sample]) -> Iterator[range]:
    """Yield the rows of a split, `CHUNK` at a time."""
    return ordered_batches(len(samples), CHUNK)
