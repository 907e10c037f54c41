"""Pictures of wide or high-dynamic-range colour as plain ones (BT.709).

Models, previews and most players know plain colour alone. Highlights above the white of plain
pictures are rolled off, all else keeps its brightness.

Sources: the transfer functions of ITU-R BT.2100-2 (PQ, HLG with its OOTF), the reference white of
203 cd/m2 of ITU-R BT.2408, the display gamma of ITU-R BT.1886.
"""

from dataclasses import dataclass
from typing import Literal

import numpy

Transfer = Literal["sdr", "pq", "hlg"]
Primaries = Literal["bt709", "bt2020", "p3"]

# Chromaticities (x, y) of red, green, blue; the white of all three is D65.
_CHROMATICITIES: dict[Primaries, tuple[tuple[float, float], ...]] = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
# cd/m2: what white paper shines with in an HDR picture (BT.2408), and the peak of an HLG display.
_WHITE, _HLG_PEAK = 203.0, 1000.0
_DISPLAY_GAMMA = 2.4
_HLG_GAMMA = 1.2
# Highlights are bent from here on, in units of white, so that this peak just fits.
_KNEE, _PEAK = 0.9, _HLG_PEAK / _WHITE
_DEPTH = 65535


@dataclass(frozen=True)
class ColourSpace:
    """How the numbers of a picture are meant."""

    transfer: Transfer = "sdr"
    primaries: Primaries = "bt709"

    @property
    def is_plain(self) -> bool:
        """Whether nothing has to be converted."""
        return self == ColourSpace()


class PlainColour:
    """Converts pictures of one colour space to BT.709 in 8 bits."""

    def __init__(self, space: ColourSpace) -> None:
        self._space = space
        signal = numpy.linspace(0, 1, _DEPTH + 1)
        # One table from signal to light and one back: a picture needs no powers.
        self._light = _light_of(signal, space.transfer).astype(numpy.float32)
        shown = numpy.clip(signal, 0, 1) ** (1 / _DISPLAY_GAMMA)
        self._shown = numpy.rint(255 * shown).astype(numpy.uint8)
        self._to_bt709 = primaries_matrix(space.primaries, "bt709").astype(numpy.float32)

    def __call__(self, picture: numpy.ndarray) -> numpy.ndarray:
        """(H, W, 3) uint8 of a picture (H, W, 3) uint16 at full range."""
        light = self._light[picture]
        if self._space.transfer == "hlg":
            # The display's gamma works on luminance, so it needs all three colours (OOTF).
            luma = light @ _luminance_of(self._space.primaries).astype(numpy.float32)
            light *= (_HLG_PEAK / _WHITE) * numpy.maximum(luma, 1e-6)[..., None] ** (_HLG_GAMMA - 1)
        light = light @ self._to_bt709.T
        if self._space.transfer != "sdr":
            light = _rolled_off(light)
        levels = numpy.rint(numpy.clip(light, 0, 1) * _DEPTH).astype(numpy.int32)
        return self._shown[levels]


def primaries_matrix(source: Primaries, target: Primaries) -> numpy.ndarray:
    """(3, 3): multiplies linear RGB of the source's primaries to that of the target's."""
    return numpy.linalg.inv(_xyz_of(target)) @ _xyz_of(source)


def _xyz_of(primaries: Primaries) -> numpy.ndarray:
    """(3, 3): linear RGB to CIE XYZ, with white at luminance 1."""
    columns = numpy.array([_xyz(x, y) for x, y in _CHROMATICITIES[primaries]]).T
    return columns * numpy.linalg.solve(columns, _xyz(*_D65))


def _xyz(x: float, y: float) -> numpy.ndarray:
    return numpy.array((x / y, 1, (1 - x - y) / y))


def _luminance_of(primaries: Primaries) -> numpy.ndarray:
    return _xyz_of(primaries)[1]


def _light_of(signal: numpy.ndarray, transfer: Transfer) -> numpy.ndarray:
    """Light in units of white; of an HLG signal the light of the scene, 0 to 1."""
    if transfer == "pq":
        # BT.2100, Table 4.
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = signal ** (1 / m2)
        light: numpy.ndarray = (numpy.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
        return 10000 / _WHITE * light
    if transfer == "hlg":
        # BT.2100, Table 5.
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return numpy.where(signal <= 0.5, signal**2 / 3, (numpy.exp((signal - c) / a) + b) / 12)
    return signal**_DISPLAY_GAMMA


def _rolled_off(light: numpy.ndarray) -> numpy.ndarray:
    """Light whose brightest colour stays below white, with the hue kept.

    A Moebius curve goes through the knee without a bend and reaches white at the peak.
    """
    brightest = numpy.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    j, peak = _KNEE, _PEAK
    a = -j * j * (peak - 1) / (j * j - 2 * j + peak)
    b = (j * j - 2 * j * peak + peak) / (peak - 1)
    bent = (b * b + 2 * b * j + j * j) / (b - a) * (brightest + a) / (brightest + b)
    return light * numpy.where(brightest > j, bent / brightest, 1).astype(light.dtype)
