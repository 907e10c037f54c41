"""The boxes of MP4 and QuickTime files, as far as they say how much memory their reader takes.

FFmpeg makes an index entry for each sample that a file states. A sample has a byte at least, so a
file cannot have more samples than bytes; a head of a few numbers can state four billion.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from .limits import MAX_BOXES

_HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
_FILE_TYPES = (b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot")
# FFmpeg joins at least this many samples of plain sound in an entry.
_JOINED = 100
_MOST_ENTRIES, _MOST_HEAD = 1_000_000, 64 * 2**20


@dataclass
class Box:
    """The name of a box, and where its content begins and ends."""

    name: bytes
    start: int
    stop: int


@dataclass
class _Counts:
    """What a track states: samples, samples by chunks, chunks, kinds, lengths of samples."""

    samples: int = 0
    in_chunks: list[tuple[int, int]] = field(default_factory=list)
    chunks: int = 0
    kinds: set[bytes] = field(default_factory=set)
    lengths: list[tuple[int, ...]] = field(default_factory=list)

    def index_entries(self) -> int:
        """How many entries FFmpeg's index gets, at most."""
        by_chunks = 0
        for place, (first, samples) in enumerate(self.in_chunks):
            is_last = place + 1 == len(self.in_chunks)
            until = self.chunks + 1 if is_last else self.in_chunks[place + 1][0]
            by_chunks += samples * max(min(until, self.chunks + 1) - first, 0)
        # FFmpeg joins samples of sound that each last one tick.
        is_plain_sound = self.kinds == {b"soun"} and all(
            length[0] == 1 and length[1:] == (1,) for length in self.lengths
        )
        return by_chunks // _JOINED if is_plain_sound else max(self.samples, by_chunks)


def outer_boxes(file: BinaryIO) -> Iterator[Box]:
    """The outermost boxes, from where the file is; nonsense of other files ends them."""
    start = file.tell()
    stop = file.seek(0, 2)
    yield from _boxes(file, start, stop)


def impossible_counts(file: BinaryIO) -> int:
    """The samples that an MP4 or QuickTime file states, where it has fewer bytes; else 0."""
    start = file.tell()
    size = file.seek(0, 2) - start
    first = next(_boxes(file, start, start + size), None)
    if first is None or first.name not in _FILE_TYPES:
        return 0
    counts: list[_Counts] = []
    num_boxes = _count(file, start, start + size, counts)
    stated = sum(each.index_entries() for each in counts)
    # Not even readers that go over all of them end in time.
    if num_boxes > MAX_BOXES:
        return max(stated, num_boxes)
    return stated if stated > size else 0


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[Box]:
    while start + 8 <= stop:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name, content = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if size == 1:  # the true size follows the name
            size, content = int.from_bytes(head[8:16], "big"), start + 16
        # Size 0: the last box goes to the end of the file.
        end = stop if size == 0 else start + size
        if end < content or not name.isascii():
            yield Box(name, content, stop)
            return
        yield Box(name, content, min(end, stop))
        start = end


def _count(file: BinaryIO, start: int, stop: int, counts: list[_Counts], num_boxes: int = 0) -> int:
    """Add the counts of the tracks between two places; returns the number of boxes so far."""
    for box in _boxes(file, start, stop):
        num_boxes += 1
        if num_boxes > MAX_BOXES:
            break
        if box.name in (b"trak", b"traf") or not counts:
            counts.append(_Counts())
        if box.name in _HOLDERS:
            num_boxes = _count(file, box.start, box.stop, counts, num_boxes)
        elif box.name == b"cmov":
            head = _unpacked(file, box)
            num_boxes = _count(BytesIO(head), 0, len(head), counts, num_boxes)
        else:
            _add(file, box, counts[-1])
    return num_boxes


def _add(file: BinaryIO, box: Box, counts: _Counts) -> None:
    """Note what a table of a track states. Its first four bytes are a version."""
    file.seek(box.start + 4)
    if box.name == b"hdlr":
        counts.kinds.add(file.read(8)[4:])
    elif box.name == b"stsz":
        same_size, count = _numbers(file, 2)
        # Sizes that differ stand in the file.
        counts.samples += count if same_size else 0
    elif box.name == b"trun":
        counts.samples += _numbers(file, 1)[0]
    elif box.name in (b"stco", b"co64"):
        stated, held = _numbers(file, 1)[0], box.stop - box.start
        counts.chunks += min(stated, held // (4 if box.name == b"stco" else 8))
    elif box.name == b"stts":
        count, _, length = _numbers(file, 3)
        counts.lengths.append((count, length))
    elif box.name == b"stsc":
        held = min(_numbers(file, 1)[0], (box.stop - box.start) // 12, _MOST_ENTRIES)
        rows = _numbers(file, 3 * held)
        counts.in_chunks += zip(rows[0::3], rows[1::3], strict=True)


def _numbers(file: BinaryIO, count: int) -> tuple[int, ...]:
    """Numbers of 32 bits; 0 for those behind the end of the file."""
    return struct.unpack(f">{count}I", file.read(4 * count).ljust(4 * count, b"\0"))


def _unpacked(file: BinaryIO, box: Box) -> bytes:
    """The head that a QuickTime file holds compressed; b"" for none."""
    for part in _boxes(file, box.start, box.stop):
        if part.name == b"cmvd":
            file.seek(part.start + 4)
            packed = file.read(min(part.stop - part.start - 4, _MOST_HEAD))
            try:
                return zlib.decompressobj().decompress(packed, _MOST_HEAD)
            except zlib.error:
                return b""
    return b""
