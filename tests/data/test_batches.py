"""Batches come in order, whole, from any number of threads; bad images fail or are listed."""

import numpy as np
import pytest
import torch

from pipelines.data.batches import BatchLoader, ordered_batches
from pipelines.data.images import UnreadableImage


class Source:
    """Row r is an image of the value r; rows in `bad` cannot be read."""

    height, width = 4, 2

    def __init__(self, rows, bad=()):
        self.names = [f"{row}.jpg" for row in range(rows)]
        self.bad = set(bad)

    def read(self, row):
        if row in self.bad:
            raise UnreadableImage(self.names[row], "torn")
        return np.full((4, 2, 3), row, np.uint8)


@pytest.mark.parametrize("workers", [0, 1, 4, -1])
def test_rows_come_in_order_as_channels_last_images(workers):
    found = list(BatchLoader(Source(10), workers=workers).iterate(ordered_batches(10, 3)))
    assert [batch.rows.tolist() for batch in found] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    for images, rows in found:
        assert images.shape == (len(rows), 3, 4, 2)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert (images == torch.from_numpy(rows).view(-1, 1, 1, 1)).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_fails_by_default(workers):
    with pytest.raises(UnreadableImage, match=r"7\.jpg: torn"):
        list(BatchLoader(Source(10, {7}), workers=workers).iterate(ordered_batches(10, 3)))


def test_bad_images_are_left_out_and_listed_when_asked():
    loader = BatchLoader(Source(6, {1, 3, 4, 5}), workers=2, on_bad_image="skip")
    found = list(loader.iterate(ordered_batches(6, 3)))
    assert [batch.rows.tolist() for batch in found] == [[0, 2]]  # the second has none left
    assert found[0].images[:, 0, 0, 0].tolist() == [0, 2]
    assert loader.skipped == {f"{row}.jpg": "torn" for row in (1, 3, 4, 5)}


def test_leaving_early_ends_the_threads():
    batches = BatchLoader(Source(100), workers=2).iterate(ordered_batches(100, 2))
    assert next(batches).rows.tolist() == [0, 1]
    batches.close()
