"""Changes of a file's bytes that know nothing of its format."""

import gzip
import zlib
from functools import cache
from pathlib import Path
from random import Random

_BLOCK = 512


def flip_bit(path: Path, rng: Random) -> str:
    """One bit of the file turned over, at any place."""
    return flip_bit_between(path, rng, 0, path.stat().st_size)


def flip_bit_between(path: Path, rng: Random, start: int, stop: int) -> str:
    """One bit of the bytes start..stop-1 turned over; says which."""
    data = bytearray(path.read_bytes())
    place, bit = rng.randrange(start, stop), rng.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {place}"


def delete_bytes(path: Path, rng: Random) -> str:
    data = path.read_bytes()
    count = min(rng.choice((1, 1, 2, 8, 100)), len(data))
    place = rng.randrange(len(data) - count + 1)
    path.write_bytes(data[:place] + data[place + count :])
    return f"{count} bytes gone at {place}"


def insert_bytes(path: Path, rng: Random) -> str:
    data = path.read_bytes()
    place, count = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 8, 100))
    path.write_bytes(data[:place] + rng.randbytes(count) + data[place:])
    return f"{count} random bytes put in at {place}"


def truncate(path: Path, rng: Random) -> str:
    size = path.stat().st_size
    kept = rng.choice((0, 1, 7, 8, 9, size // 2, size - 1, rng.randrange(size)))
    path.write_bytes(path.read_bytes()[:kept])
    return f"cut after {kept} of {size} bytes"


def zero_block(path: Path, rng: Random) -> str:
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data))
    count = min(rng.choice((16, _BLOCK, 8 * _BLOCK)), len(data) - place)
    data[place : place + count] = bytes(count)
    path.write_bytes(data)
    return f"{count} zeros at {place}"


def append_bytes(path: Path, rng: Random) -> str:
    count = rng.choice((1, 8, 100_000))
    with path.open("ab") as file:
        file.write(rng.randbytes(count))
    return f"{count} bytes at the end"


def repeat_whole(path: Path, rng: Random) -> str:
    """The content more than once, as a bad copy gives it."""
    count = rng.choice((2, 3))
    path.write_bytes(path.read_bytes() * count)
    return f"content {count} times"


def foreign_content(path: Path, rng: Random) -> str:
    """The content of another kind of file under this name."""
    kinds = {
        "itself, compressed": zlib.compress(path.read_bytes()),
        "text": b"hello\n" * 20,
        "a web page": b"<!DOCTYPE html><html><body>404: not found</body></html>",
        "an LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a picture": b"\x89PNG\r\n\x1a\n" + rng.randbytes(200),
        "noise": rng.randbytes(5000),
        "zeros": bytes(5000),
        "gzip of 200 MB": _bomb(),
        "UTF-16": "camera".encode("utf-16") * 40,
        "an empty list": b"[]",
        "an empty object": b"{}",
        "a number": b"7",
        "white space": b" \n\t " * 100,
        "lists in lists": b"[" * 10_000 + b"]" * 10_000,
        "objects in objects": b'{"a":' * 100_000,
        "a large number": b"9" * 5000,
    }
    name = rng.choice(sorted(kinds))
    path.write_bytes(kinds[name])
    return f"replaced by {name}"


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(200_000_000), 1)


BYTES = (
    *(flip_bit, flip_bit, flip_bit, delete_bytes, insert_bytes, truncate, zero_block),
    *(append_bytes, repeat_whole, foreign_content, foreign_content),
)
