"""Augmentation moves each image by itself, and only as far as it says."""

import torch

from pipelines.data.augment import (
    Draws,
    augment,
    normalise,
    random_crop,
    random_erase,
    random_flip,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draws(total, *, first=0, seed=0):
    return Draws(generator(seed), total, first)


def images(count=64):
    return torch.randint(1, 255, (count, 3, 12, 6), generator=generator(), dtype=torch.uint8)


def test_normalise_by_hand():
    pixel = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(normalise(pixel).flatten(), torch.tensor(expected))


def test_without_augmentation_images_are_only_normalised():
    found = augment(images(), flip=0, pad=0, erase=0, draws=draws(64))
    torch.testing.assert_close(found, normalise(images()))


def test_a_flip_mirrors_some_images_and_no_other():
    before = images()
    after = random_flip(before, 0.5, draws=draws(64))
    mirrored = (after == before.flip(3)).flatten(1).all(1)
    same = (after == before).flatten(1).all(1)
    assert (mirrored | same).all() and 16 < int(mirrored.sum()) < 48


def test_a_crop_is_the_image_moved_with_black_coming_in():
    before = images()
    after = random_crop(before, 2, draws=draws(64))
    moves = set()
    padded = torch.nn.functional.pad(before, (2, 2, 2, 2))
    for image, source in zip(after, padded, strict=True):
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if torch.equal(image, source[:, y : y + 12, x : x + 6])
        ]
        assert len(found) == 1
        moves.update(found)
    assert len(moves) > 15


def test_erasing_sets_one_rectangle_of_each_image_to_the_mean():
    before = torch.ones(64, 3, 24, 12)
    after = random_erase(before, 1.0, draws=draws(64))
    for image in after:
        rows, columns = torch.where(image[0] == 0)
        height, width = (int(v.max() - v.min() + 1) for v in (rows, columns))
        assert len(rows) == height * width < 24 * 12 * 0.6
        assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


def test_erasing_leaves_the_others_alone():
    after = random_erase(torch.ones(200, 3, 24, 12), 0.5, draws=draws(200))
    erased = int((after == 0).flatten(1).any(1).sum())
    assert 70 < erased < 130


def test_the_same_generator_gives_the_same_batch_in_channels_last():
    kinds = {"flip": 0.5, "pad": 2, "erase": 0.5}
    one, other = (augment(images(), **kinds, draws=draws(64, seed=5)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.is_contiguous(memory_format=torch.channels_last)


def test_parts_of_a_batch_are_drawn_as_the_whole_batch_is():
    kinds = {"flip": 0.5, "pad": 2, "erase": 0.5}
    whole = augment(images(), **kinds, draws=draws(64))
    parts = [
        augment(images()[part], **kinds, draws=draws(64, first=part.start))
        for part in (slice(0, 24), slice(24, 64))
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
