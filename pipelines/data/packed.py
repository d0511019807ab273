"""images.h5: a data set's images, decoded and resized once, read through a memory map."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..blocks import BlockedFile
from ..errors import BadInput
from ..flow import command_line
from ..hdf5 import reading, require_arrays, writing
from ..progress import Task
from .batches import BatchLoader, ordered_batches
from .images import ImageSource, UnreadableImage

BATCH = 64


class PackedFile:
    """An images.h5, mapped into memory. `images` gives some of it by name."""

    def __init__(self, path: Path, blocks: BlockedFile | None = None) -> None:
        self.path, self.blocks = path, blocks or BlockedFile(path)
        with reading(path, blocks=self.blocks) as file:
            text = {"names": "O[N]", "reasons": "O[N]"}
            require_arrays(path, file, images="u[N,height,width,3]", **text)
            pixels = file["images"]
            listed, reasons = file["names"].asstr()[:], file["reasons"].asstr()[:]
            self.start, shape = pixels.id.get_offset(), pixels.shape
        self.row_of = {name: row for row, name in enumerate(listed)}
        named = zip(listed, reasons, strict=True)
        self.reasons = {name: reason for name, reason in named if reason}
        self.pixels = self.blocks.array(np.uint8, shape, start=self.start)

    def images(self, names: Sequence[str]) -> "PackedImages":
        """Return the images of these names; BadInput when one is not there."""
        missing = [name for name in names if name not in self.row_of]
        if missing:
            again = command_line("pack", "DATASET", "--overwrite", run=self.path.parent)
            raise BadInput(f"{self.path} does not hold {missing[0]}; pack again with: {again}")
        return PackedImages(self, names)

    def image(self, row: int) -> np.ndarray:
        """Return image `row`, [height, width, 3] uint8; BadInput where it is damaged."""
        size = self.pixels[row].nbytes
        self.blocks.check(self.start + row * size, self.start + (row + 1) * size)
        return np.asarray(self.pixels[row])


class PackedImages:
    """Some images of a packed file, with the pixels that `ImageFiles` gives. Safe among threads.

    Reading one is a copy of mapped memory, which does not hold Python's lock.
    """

    def __init__(self, file: PackedFile, names: Sequence[str]) -> None:
        self.file, self.names = file, names
        self.height, self.width = int(file.pixels.shape[1]), int(file.pixels.shape[2])

    def read(self, row: int) -> np.ndarray:
        """Return image `row`, [height, width, 3] uint8."""
        name = self.names[row]
        if name in self.file.reasons:
            raise UnreadableImage(name, self.file.reasons[name])
        return self.file.image(self.file.row_of[name])


def write_packed(path: Path, loader: BatchLoader, *, task: Task) -> dict[str, str]:
    """Write every image of a loader's source to `path`; return those that could not be read.

    With the loader's policy "skip" these are kept as a name and a reason, without pixels.
    """
    import h5py

    source: ImageSource = loader.source
    count = len(source.names)
    text = h5py.string_dtype()
    with writing(path) as file:
        # Contiguous and allocated at once, so that readers can map it.
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.CONTIGUOUS)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plist.set_obj_track_times(False)  # the same images make the same bytes
        space = h5py.h5s.create_simple((count, source.height, source.width, 3))
        h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_UINT8, space, plist)
        pixels = file["images"]
        for batch in loader.iterate(ordered_batches(count, BATCH)):
            pixels[batch.rows] = batch.images.permute(0, 2, 3, 1).numpy()
            task.advance(len(batch.rows))
        reasons = [loader.skipped.get(name, "") for name in source.names]
        file.create_dataset("names", data=np.array(source.names, object), dtype=text)
        file.create_dataset("reasons", data=np.array(reasons, object), dtype=text)
    return dict(loader.skipped)
