"""backbone.pt, or any other network, + the data set's images -> embeddings.h5"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts.embeddings import create_embeddings, create_split
from ..artifacts.manifest import Manifest
from ..artifacts.moved import pictures_root
from ..artifacts.run import SCRATCH, Run, writing_stage
from ..artifacts.unfinished import purpose_of, unfinished_other
from ..config import ExtractConfig, as_table
from ..data.samples import Dataset, labelled
from ..device import choose_device
from ..errors import BadInput
from ..extraction.chunks import ChunkedEmbedding
from ..extraction.claims import Gone, exclusive, holders
from ..extraction.given import OF_THE_NETWORK, given_network, require_own
from ..extraction.networks import open_network
from ..extraction.sources import (
    Sources,
    dataset_facts,
    dataset_for_network,
    find_dataset,
    image_sources,
    naming_check_of,
    skipped_text,
    tell,
)
from ..extraction.tracklets import track_means
from ..processes import rank
from ..progress import Progress, Silent

ARTIFACT = "embeddings.h5"
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

    Several processes, on one machine or more, share the work where they are given the same run and
    the same settings: each embeds chunks that no other has, and one puts them together. Of those
    that torchrun has started it is the first; the others return when everything is embedded.

    Of a data set of tracklets, each becomes one row: the mean of its frames' unit rows.

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
    if run.is_shared_work_done(wanted, overwrite=overwrite):
        clear_unless_at_work(run, wanted)
        progress.message(f"{run.up_to_date(ARTIFACT)}{_moved(run, data)}")
        return run.path(ARTIFACT)
    if given is not None:  # of the backbone's, training has told
        tell(data, progress)
    network = open_network(run, given, config=config, device=chosen, progress=progress)
    sources = image_sources(run, data, preprocessing=network.preprocessing, progress=progress)
    folder = run.shared_scratch(ARTIFACT)
    work = ChunkedEmbedding(
        network, folder, wanted=wanted, config=config, overwrite=overwrite, progress=progress
    )
    extraction = Extraction(data, sources, work=work)
    if not run.is_shared_work_done(wanted, overwrite=overwrite):  # since the first look
        with suppress(Gone), naming_check_of(data):
            work.embed_all(extraction.sources)
        if rank() == 0:
            run.claim()  # one of the processes that share the work puts the parts together
    if run.is_shared_work_done(wanted, overwrite=overwrite):
        clear_unless_at_work(run, wanted)
        progress.message(f"{run.path(ARTIFACT)} was put together by another process")
        return run.path(ARTIFACT)
    if rank() > 0:
        return run.path(ARTIFACT)
    with run.writing(wanted) as (temporary, recorded):
        extraction.assemble(temporary)
        recorded.update(extraction.facts(), device=str(chosen), precision=network.precision)
        recorded.update(network.facts(given))
    run.clear_scratch(ARTIFACT)
    return run.path(ARTIFACT)


def clear_unless_at_work(run: Run, wanted: Manifest) -> None:
    """Remove what an extraction that has ended left to go on from; not where one is at work.

    Nor is removed what was begun of another extraction than the one of `wanted`.
    """
    folder = run.path(SCRATCH) / ARTIFACT
    with suppress(Gone, OSError, BadInput):  # nothing there, or a disk that is only read
        with exclusive(folder) as now:
            other = unfinished_other(folder, purpose=purpose_of(wanted))
            idle = not holders(folder, now) and other is None
        if idle:
            run.clear_scratch(ARTIFACT)


def _moved(run: Run, data: Dataset) -> str:
    """Let the run remember where images lie that were embedded from another folder; say so."""
    facts, now = run.facts(ARTIFACT), str(data.root.resolve())
    there = facts.get("root")
    if there in (None, now):
        return ""
    names = [sample.name for split in data.filled_splits() for sample in data.images(split)]
    if pictures_root(run, facts, told=now, names=names) != now:
        return ""
    return f", of the same images at {there}; pages show them from {now} from now on"


class Extraction:
    """A data set's splits, embedded in chunks and put together."""

    def __init__(self, dataset: Dataset, sources: Sources, *, work: ChunkedEmbedding) -> None:
        self.dataset, self.work = dataset, work
        self.sources = {
            split: sources([sample.name for sample in dataset.images(split)])
            for split in dataset.filled_splits()
            if dataset.same_as(split) == split  # else it is embedded and kept once
        }
        self.skipped: dict[str, str] = {}
        self.counts: dict[str, int] = {}  # rows of each split, without what was left out

    def assemble(self, path: Path) -> None:
        """Write all chunks to `path` as embeddings.h5, in the data set's order."""
        dim = self._width()
        with create_embeddings(
            path, dim=dim, dataset=self.dataset.name, labels=self.dataset.labels
        ) as file:
            for split in self.dataset.filled_splits():
                same = self.dataset.same_as(split)
                if same != split:  # the queries are the gallery, say: embedded and kept once
                    file[split], self.counts[split] = file[same], self.counts[same]
                    continue
                samples = self.dataset.split(split)
                means = self._track_means(split) if self.dataset.tracks else None
                kept = self._kept_rows(split) if means is None else means[0]
                if not len(kept):
                    raise BadInput(f"none of the {len(samples)} {split} images could be read")
                self.counts[split] = len(kept)
                found = labelled([samples[row] for row in kept], self.dataset.columns)
                group = create_split(file, split, **found._asdict())
                if means is not None:
                    group["features"][:] = means[1]
                    continue
                start = 0
                for chunk in self.work.read(split, self.sources[split]):
                    if len(chunk.features):
                        group["features"][start : start + len(chunk.rows)] = chunk.features
                    start += len(chunk.rows)

    def facts(self) -> dict[str, Any]:
        """Return what the manifest tells beside the artifact's identity."""
        skipped = dict(sorted(self.skipped.items()))
        if skipped:
            self.work.progress.warn(skipped_text(skipped))
        counted = {"images": self.counts, "skipped": skipped, "dim": self._width()}
        return counted | {"seconds": round(self.work.seconds, 3)}

    def _width(self) -> int:
        """Return the embeddings' width d: that of the first chunk which holds any."""
        for split, source in self.sources.items():
            for chunk in self.work.read(split, source):
                if len(chunk.rows):
                    return int(chunk.features.shape[1])
        raise BadInput(f"no image of {self.dataset.name} at {self.dataset.place} could be read")

    def _track_means(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        self._kept_rows(split)  # which notes the frames that were left out
        chunks = self.work.read(split, self.sources[split])
        parts = ((chunk.rows, chunk.features) for chunk in chunks)
        return track_means(self.dataset, split, parts=parts)

    def _kept_rows(self, split: str) -> np.ndarray:
        found = []
        for chunk in self.work.read(split, self.sources[split]):
            found.append(chunk.rows)
            self.skipped.update(chunk.skipped)
        return np.concatenate(found)
