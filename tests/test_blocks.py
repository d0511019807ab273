"""A file is used only where each block is what its digest says."""

import mmap
import zlib

import numpy as np
import pytest

from pipelines import blocks
from pipelines.blocks import BlockedFile, block_digests
from pipelines.errors import BadInput


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Four blocks of eight bytes, the last one cut, none compared when the file is opened."""
    monkeypatch.setattr(blocks, "BLOCK", 8)
    monkeypatch.setattr(blocks, "SMALL", 0)
    found = tmp_path / "x.bin"
    found.write_bytes(bytes(range(30)))
    return found


def flipped(path, byte):
    content = bytearray(path.read_bytes())
    content[byte] ^= 4
    path.write_bytes(content)


def test_a_digest_a_block(path):
    parts = [bytes(range(start, min(start + 8, 30))) for start in range(0, 30, 8)]
    sums = zlib.crc32(bytes(8 * blocks.COLUMNS))  # no block is a row long
    assert block_digests(path) == "".join(f"{zlib.crc32(part, sums):08x}" for part in parts)


def test_a_digest_sees_what_happens_to_files(tmp_path):
    chance = np.random.default_rng(0)
    content, path = chance.bytes(3 * blocks.BLOCK // 2), tmp_path / "x.bin"

    def digests(changed):
        path.write_bytes(changed)
        return block_digests(path)

    whole, found = digests(content), set()
    for _ in range(200):
        byte, damaged = int(chance.integers(len(content))), bytearray(content)
        damaged[byte] ^= 1 << int(chance.integers(8))
        found.add(digests(damaged))
        page, size = byte // 4096 * 4096, 4096 * int(chance.integers(1, 9))
        found.add(
            digests(
                content[:page] + bytes(len(content[page : page + size])) + content[page + size :]
            )
        )
        swapped = content[page + 4096 : page + 8192] + content[page : page + 4096]
        found.add(digests(content[:page] + swapped + content[page + 8192 :]))
    assert whole not in found and len(found) > 400


def test_a_damaged_block_is_refused_when_it_is_touched_and_not_before(path):
    digests = block_digests(path)
    flipped(path, 17)
    file = BlockedFile(path, digests=digests, remedy="make it again")
    file.check(0, 16)
    file.check_rows(np.array([0, 7]), start=0, width=4)  # bytes 0 to 3, and 28 to 29
    assert list(file.done) == [1, 1, 0, 1]
    for touch in (
        lambda: file.check(15, 17),
        lambda: file.check_rows(np.array([3]), start=2, width=5),  # bytes 17 to 21
        lambda: file.check_rows(np.array([0]), start=4, width=24),  # its middle
    ):
        with pytest.raises(BadInput, match=r"x\.bin is damaged or replaced: .*; make it again"):
            touch()


def test_a_stream_ends_at_a_damaged_block_and_keeps_why(path):
    digests = block_digests(path)
    flipped(path, 8)
    stream = BlockedFile(path, digests=digests).stream()
    assert stream.read(8) == bytes(range(8))
    assert stream.read(8) == b"" and isinstance(stream.problem, BadInput)


def test_a_small_file_is_compared_when_it_is_opened(path, monkeypatch):
    monkeypatch.setattr(blocks, "SMALL", 30)
    digests = block_digests(path)
    flipped(path, 29)
    with pytest.raises(BadInput, match="is damaged or replaced"):
        BlockedFile(path, digests=digests)


def test_a_file_of_another_length(path):
    digests = block_digests(path)
    file = BlockedFile(path, digests=digests)
    file.check(0, 30)
    assert file.checked(0, 30)
    with pytest.raises(BadInput, match="is damaged or replaced"):
        BlockedFile(path, digests=digests[8:])


def test_a_file_larger_than_the_memory_is_mapped_to_be_read(path, monkeypatch):
    mapped = mmap.mmap

    def no_copies(descriptor, size, *, access):
        if access == mmap.ACCESS_COPY:
            raise OSError(12, "Cannot allocate memory")
        return mapped(descriptor, size, access=access)

    monkeypatch.setattr(mmap, "mmap", no_copies)
    file = BlockedFile(path, digests=block_digests(path))
    file.check(0, 30)
    assert file.array(np.uint8, (3, 2), start=8).tolist() == [[8, 9], [10, 11], [12, 13]]
