"""Small whole files of weights, ways to break them, and the memory that reading them takes."""

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.weights.checkpoint import save_adapter
from memv2v_core.weights.wan_shapes import WanSizes, wan_shapes

MAX_MESSAGE_CHARS = 1000
SIZES = WanSizes(
    dim=32, num_blocks=2, in_channels=16, out_values=64, ffn_dim=64, text_dim=24, freq_dim=16
)
_STATUS = Path("/proc/self/status")


def base_weights() -> dict[str, torch.Tensor]:
    """A whole Wan2.1 of two blocks of 32, random."""
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.randn(shape, generator=generator) for name, shape in wan_shapes(SIZES).items()
    }


def save_small_adapter(path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_adapter(MemoryAdapter(AdapterConfig(32, 2, 16)), path)


def save_base(path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file(base_weights(), str(path), metadata={"format": "pt"})
    else:
        torch.save(base_weights(), path)


def fault_of(read: Callable[[], object], *names: str) -> str:
    """The message of the one ValueError that `read` raises; "" where it raises nothing.

    Asserts that the error is a plain ValueError of one short printable line with one of `names`.
    """
    fault: ValueError | None = None
    try:
        read()
    except ValueError as error:
        fault = error
    if fault is None:
        return ""
    message = str(fault)
    assert type(fault) is ValueError, repr(fault)
    assert message.isprintable(), repr(message)
    assert len(message) < MAX_MESSAGE_CHARS, f"{len(message)} characters: {message[:200]}"
    assert any(name in message for name in names), message
    assert "weights_only" not in message
    return message


def parts_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and numbers of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: Any, numbers: bytes) -> bytes:
    """The inverse of `parts_of`. A text stays as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def with_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of a safetensors file in place."""
    header, numbers = parts_of(path.read_bytes())
    change(header)
    path.write_bytes(joined(header, numbers))


def with_config(path: Path, **changes: Any) -> None:
    """Change settings of an adapter's configuration; None removes one."""

    def change(header: dict[str, Any]) -> None:
        config = json.loads(header["__metadata__"]["config"]) | changes
        config = {name: value for name, value in config.items() if value is not None}
        header["__metadata__"]["config"] = json.dumps(config)

    with_header(path, change)


def break_bytes(data: bytes, dice: Random) -> bytes:
    """Flipped bits, a cut end, a piece of zeros, or bytes too many."""
    changed = bytearray(data)
    kind = dice.randrange(5)
    if kind == 0:
        for _ in range(dice.choice((1, 8))):
            # The lists of a file stand at its beginning or end.
            near = dice.choice((len(changed), min(len(changed), 3000)))
            at = dice.randrange(near) if dice.random() < 0.7 else -1 - dice.randrange(near)
            changed[at] ^= 1 << dice.randrange(8)
    elif kind == 1:
        del changed[dice.randrange(len(changed)) :]
    elif kind == 2:
        at = dice.randrange(len(changed))
        changed[at : at + 64] = bytes(len(changed[at : at + 64]))
    elif kind == 3:
        changed += dice.randbytes(40)
    else:
        at = dice.randrange(len(changed))
        changed[at:at] = dice.randbytes(dice.choice((1, 8)))
    return bytes(changed)


def break_safetensors(data: bytes, dice: Random) -> bytes:
    """One change that knows the format: names, types, shapes, places, metadata, numbers."""
    header, numbers = parts_of(data)
    names = [name for name in header if name != "__metadata__"]
    name = dice.choice(names)
    kind = dice.randrange(8)
    if kind == 0:
        header[name + dice.choice(("x", "\n", "x" * 5000))] = header.pop(name)
    elif kind == 1:
        header[name]["dtype"] = dice.choice(("F16", "I32", "F64", "BOOL", "X9", 7, None, []))
    elif kind == 2:
        shapes = ([2**62, 2**62], [-1], [True], [0], "x", None, [1] * 70, [1.5], [[[]]])
        header[name]["shape"] = dice.choice(shapes)
    elif kind == 3:
        header[name]["data_offsets"] = dice.choice(([0, 2**70], [-8, 0], [0], None, ["a", "b"]))
    elif kind == 4:
        header[name] = dice.choice((None, [], 3, {}))
    elif kind == 5:
        header["__metadata__"] = dice.choice(([], 3, {"config": {}}, {"format": None}))
    elif kind == 6:
        # NaN or infinity in one number.
        at = 4 * dice.randrange(len(numbers) // 4)
        value = struct.pack("<f", dice.choice((math.nan, math.inf, -math.inf)))
        numbers = numbers[:at] + value + numbers[at + 4 :]
    else:
        return joined(b'{"a":' * 3000 + b"1" + b"}" * 3000, numbers)
    return joined(header, numbers)


def break_json(text: str, dice: Random) -> str:
    """One value of a JSON object, or of one inside it, replaced, renamed or removed."""
    content = json.loads(text)
    place = content
    while nested := [value for value in place.values() if isinstance(value, dict)]:
        if dice.random() < 0.5:
            break
        place = dice.choice(nested)
    name = dice.choice(sorted(place))
    values = (10**9, 10**30, -1, 0, True, 1.5, "x" * 9000, "\n", None, [], {}, [[[[]]]])
    kind = dice.randrange(4)
    if kind == 0:
        place[name + "x"] = place.pop(name)
    elif kind == 1:
        del place[name]
    else:
        place[name] = dice.choice(values)
    text = json.dumps(content)
    # What JSON does not have, and what Python's reader takes.
    odd = dice.choice(("NaN", "1e999", "9" * 6000, "[" * 90000))
    return text.replace(": 1", f": {odd}", 1) if dice.random() < 0.2 else text


class PeakMemory:
    """How far the memory of this process rises inside a `with`, in bytes; Linux only."""

    rise = 0

    def __enter__(self) -> "PeakMemory":
        # 5 sets the peak to what is used now.
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _kilobytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.rise = 1024 * (_kilobytes("VmHWM") - self._before)


def can_measure() -> bool:
    """Whether `PeakMemory` works here."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _kilobytes("VmHWM") > 0
    except (OSError, StopIteration):
        return False


def _kilobytes(field: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
