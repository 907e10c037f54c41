"""The sphere's points as rows of bits: which of them are seen, packed 64 to a number.

M points in rows and columns, W words of 64 columns. A row is a circle of one latitude.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# Rows of points that are seen: (..., rows, W).
Bits = npt.NDArray[np.uint64]

_WORD = 64


@dataclass(frozen=True, eq=False)
class SphereGrid:
    """A latitude-longitude grid of points on a sphere around the origin.

    points: (rows, columns, 3). inverse_sine, cotangent: (rows,), of each row's polar angle.
    arcs: (3 * columns + 3, W), see `arc_bits`. ones: (65536,) how many bits of a number are set.
    """

    num_rows: int
    num_columns: int
    radius: float
    points: Floats
    inverse_sine: Floats
    cotangent: Floats
    arcs: Bits
    ones: npt.NDArray[np.uint8]

    @property
    def num_words(self) -> int:
        """W."""
        return self.arcs.shape[1]

    def arc_bits(self, start: Ints, stop: Ints) -> Bits:
        """Rows (..., W) with the points from `start` (...) up to `stop` (...).

        Columns count on around the circle: both lie in -columns to 2 * columns + 2, and an arc has
        at most as many points as a row. The table holds, for every column, the parity of how often
        each point was passed on the way there.
        """
        bits = self.arcs.take(start + self.num_columns, axis=0)
        bits ^= self.arcs.take(stop + self.num_columns, axis=0)
        return bits

    @property
    def whole_row(self) -> Bits:
        """A row (W,) with all points."""
        return self.arcs[2 * self.num_columns] ^ self.arcs[self.num_columns]

    def packed(self, seen: Bools) -> Bits:
        """Bits (..., W) of points (..., columns)."""
        padding = [(0, 0)] * (seen.ndim - 1) + [(0, self.num_words * _WORD - seen.shape[-1])]
        octets = np.packbits(np.pad(seen, padding), axis=-1, bitorder="little")
        return octets.view(np.uint64)

    def unpacked(self, bits: Bits) -> Bools:
        """Points (..., columns) of bits (..., W)."""
        octets = np.ascontiguousarray(bits).view(np.uint8)
        return np.unpackbits(octets, axis=-1, count=self.num_columns, bitorder="little").astype(
            bool
        )

    def count(self, bits: Bits) -> Ints:
        """How many points are seen (P,) in masks (P, rows, W)."""
        halves = np.ascontiguousarray(bits).reshape(len(bits), -1).view(np.uint16)
        return self.ones.take(halves).sum(axis=1, dtype=np.int64)


# A retrieval asks for the same sphere again and again. It takes 2 MB in the paper's size.
@lru_cache(maxsize=4)
def make_grid(num_rows: int, num_columns: int, radius: float) -> SphereGrid:
    """The grid of Eq. 9, with tables that need 3 * columns ** 2 / 8 bytes."""
    theta = (np.arange(num_rows) + 0.5) * (math.pi / num_rows)
    phi = (np.arange(num_columns) + 0.5) * (2 * math.pi / num_columns)
    sine, cosine = np.sin(theta)[:, None], np.cos(theta)[:, None]
    directions = np.stack(
        [
            -sine * np.sin(phi),
            np.broadcast_to(-cosine, (num_rows, num_columns)),
            -sine * np.cos(phi),
        ],
        axis=-1,
    )
    return SphereGrid(
        num_rows,
        num_columns,
        radius,
        radius * directions,
        1 / sine[:, 0],
        cosine[:, 0] / sine[:, 0],
        _arc_table(num_columns),
        np.unpackbits(np.arange(2**16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1).sum(
            axis=1, dtype=np.uint8
        ),
    )


def _arc_table(num_columns: int) -> Bits:
    num_words = -(-num_columns // _WORD)
    columns = np.arange(-num_columns, 2 * num_columns + 2) % num_columns
    bits = np.zeros((len(columns) + 1, num_words), np.uint64)
    bits[np.arange(len(columns)) + 1, columns // _WORD] = np.uint64(1) << (columns % _WORD).astype(
        np.uint64
    )
    return np.bitwise_xor.accumulate(bits, axis=0)
