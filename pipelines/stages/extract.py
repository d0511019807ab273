"""backbone.pt, or any other network, + the data set's images -> embeddings.h5"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..artifacts.embeddings import create_embeddings, create_split
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run, writing_stage
from ..artifacts.unfinished import note_progress
from ..config import ExtractConfig, as_table
from ..data.batches import BatchLoader, ordered_batches
from ..data.samples import Dataset, Sample
from ..device import choose_device
from ..errors import BadInput
from ..extraction.given import OF_THE_NETWORK, given_network, require_own
from ..extraction.networks import Network, open_network
from ..extraction.sources import (
    Sources,
    dataset_facts,
    dataset_for_network,
    find_dataset,
    image_sources,
    skipped_text,
    tell,
)
from ..files import sealed, sealing, text_digest, write_text
from ..progress import Progress, Silent
from ..training.delayed import one_behind

ARTIFACT = "embeddings.h5"
CHUNK = 1024  # images embedded between two points that an interrupted extraction goes on from
EXECUTION_ONLY = ("workers",)  # settings that change no result


@writing_stage
def extract(
    run: Run,
    *,
    config: ExtractConfig = ExtractConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
    dataset: str | Dataset | None = None,
    root: str | Path | None = None,
    options: dict[str, Any] | None = None,
    arch: str | None = None,
    weights: str | Path | None = None,
    onnx: str | Path | None = None,
) -> Path:
    """Embed every image of a data set, without augmentation; return the path of embeddings.h5.

    dataset, root: the data set; None: the one that the backbone was trained on, where it was. One
                   that was read already is taken as it is.
    options:       of the data set's reader, beside those that the backbone was trained with.
    arch, weights: any network as it is, and the file of its weights, instead of backbone.pt.
    onnx:          any network of images [B, 3, H, W] to embeddings [B, d], instead of backbone.pt.

    Raises:
        MissingArtifact: no network is named, and there is no backbone.pt.
        BadInput: no such network, or weights that do not fit it.
    """
    given = given_network(arch=arch, weights=weights, onnx=onnx)
    chosen = choose_device(device)
    if given is None:
        require_own(config)
        data = find_dataset(run, dataset, root=root, options=options, progress=progress)
        inputs, own = {"backbone.pt": run.digest("backbone.pt")}, dict[str, Any]()
    else:
        data = dataset_for_network(given, dataset, root=root, options=options, progress=progress)
        inputs, own = given.inputs(), given.as_table(config)
    settings, left_out = as_table(config), (*EXECUTION_ONLY, *OF_THE_NETWORK)
    wanted = Manifest(
        ARTIFACT,
        "extract",
        {key: value for key, value in settings.items() if key not in left_out} | own,
        {**inputs, "image list": data.digest()},
        facts=dataset_facts(data),
    )
    if run.is_current(wanted, overwrite=overwrite):
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return run.path(ARTIFACT)
    if given is not None:  # of the backbone's, training has told
        tell(data, progress)
    network = open_network(run, given, config=config, device=chosen, progress=progress)
    sources = image_sources(run, data, preprocessing=network.preprocessing, progress=progress)
    work = Extraction(data, sources, network=network, config=config, progress=progress)
    work.resume_in(run.scratch(ARTIFACT), key=text_digest(wanted.to_json()))
    work.embed_all()
    with run.writing(wanted) as (temporary, recorded):
        work.assemble(temporary)
        recorded.update(work.facts(), device=str(chosen), precision=network.precision)
        recorded.update(network.facts(given))
    run.clear_scratch(ARTIFACT)
    return run.path(ARTIFACT)


class Extraction:
    """One pass over a data set's splits in chunks, each a file that survives an interruption."""

    def __init__(
        self,
        dataset: Dataset,
        sources: Sources,
        *,
        network: Network,
        config: ExtractConfig,
        progress: Progress,
    ) -> None:
        self.dataset, self.sources, self.network = dataset, sources, network
        self.config, self.progress = config, progress
        self.skipped: dict[str, str] = {}
        self.seconds = 0.0
        self.embedded = 0
        self.folder = Path()

    def resume_in(self, folder: Path, *, key: str) -> None:
        """Keep the chunks in `folder`, dropping those of another extraction than `key`."""
        mark = folder / "key"
        if not mark.exists() or mark.read_bytes() != key.encode():
            shutil.rmtree(folder)
            folder.mkdir(parents=True)
            write_text(mark, key)
        self.folder = folder

    def embed_all(self) -> None:
        """Embed every chunk that is not there yet."""
        splits = {name: self.dataset.split(name) for name in self.dataset.filled_splits()}
        total, kept = sum(map(len, splits.values())), 0
        with self.progress.task("embed", total, unit="images") as task:
            for split, samples in splits.items():
                for rows in chunks(samples):
                    path = self._path(split, rows)
                    if sealed(path) is None:
                        self._embed_chunk(path, samples, rows=rows, task=task)
                        done = kept + self.embedded
                        note_progress(self.folder, done, of=total, unit="image")
                    else:
                        kept += len(rows)
                        task.skip(len(rows))
        if self.embedded:
            rate = self.embedded / max(self.seconds, 1e-9)
            self.progress.message(
                f"embedded {self.embedded} images in {self.seconds:.1f} s: {rate:.1f} images/s"
            )

    def _embed_chunk(
        self, path: Path, samples: Sequence[Sample], *, rows: range, task: Any
    ) -> None:
        source = self.sources([samples[row].name for row in rows])
        pinned = self.network.device.type == "cuda"
        policy = self.config.on_bad_image
        loader = BatchLoader(source, workers=self.config.workers, on_bad_image=policy, pin=pinned)
        start = time.perf_counter()
        found, kept = [], []
        for batch_rows, features in embed_rows(
            self.network, loader, rows=len(rows), size=self.config.batch
        ):
            found.append(features)
            kept.append(batch_rows)
            self.embedded += len(batch_rows)
            task.advance(len(batch_rows))
        task.advance(len(loader.skipped))
        self.seconds += time.perf_counter() - start
        features = np.concatenate(found) if found else np.empty((0, 0), np.float32)
        index = np.concatenate(kept) if kept else np.empty(0, np.int64)
        with sealing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, features=features, rows=index, skipped=json.dumps(loader.skipped))

    def assemble(self, path: Path) -> None:
        """Write all chunks to `path` as embeddings.h5, in the data set's order."""
        dim = self._width()
        with create_embeddings(
            path, dim=dim, dataset=self.dataset.name, labels=self.dataset.labels
        ) as file:
            for split in self.dataset.filled_splits():
                samples = self.dataset.split(split)
                kept = self._kept_rows(split, samples)
                if not len(kept):
                    raise BadInput(f"none of the {len(samples)} {split} images could be read")
                labels = [samples[row] for row in kept]
                names, pids, camids = (np.array(column) for column in zip(*labels, strict=True))
                group = create_split(file, split, names=names, pids=pids, camids=camids)
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
        return {"skipped": skipped, "seconds": round(self.seconds, 3), "dim": self._width()}

    def _width(self) -> int:
        """Return the embeddings' width d: that of the first chunk which holds any."""
        for split in self.dataset.filled_splits():
            for _, features, _ in self._chunks(split, self.dataset.split(split)):
                if len(features):
                    return int(features.shape[1])
        raise BadInput(f"no image of {self.dataset.name} at {self.dataset.root} could be read")

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
            path = sealed(self._path(split, rows))
            if path is None:
                raise BadInput(
                    f"a finished part of the extraction in {self.folder} is gone or was damaged; "
                    "run the same command again: only that part is made anew"
                )
            with np.load(path, allow_pickle=False) as file:
                yield file["rows"] + rows.start, file["features"], json.loads(str(file["skipped"]))

    def _path(self, split: str, rows: range) -> Path:
        return self.folder / f"{split}-{rows.start:09d}.npz"


def embed_rows(
    network: Network, loader: BatchLoader, *, rows: int, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows read, [B] int64, and their embeddings, [B, dim] float32, batch by batch."""

    def queued() -> Iterator[tuple[np.ndarray, Tensor]]:
        for batch in loader.iterate(ordered_batches(rows, size)):
            yield batch.rows, network.of_images(batch.images)

    for read, embeddings in one_behind(queued()):
        yield read, embeddings.cpu().numpy()


def chunks(samples: Sequence[Sample]) -> Iterator[range]:
    """Yield the rows of a split, `CHUNK` at a time."""
    return ordered_batches(len(samples), CHUNK)
