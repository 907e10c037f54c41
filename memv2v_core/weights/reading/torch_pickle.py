"""The pickle inside a file of torch, as a description of its tensors.

This is no unpickler: it knows the steps that torch.save writes, makes nothing but dicts, lists,
texts, numbers and descriptions, and imports and calls nothing. So no code in a file can run, with
any version of torch, and no tensor is made before its size is checked.
"""

import io
import pickletools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from .boundary import Fault, quoted
from .limits import MAX_PICKLE_BYTES, MAX_PICKLE_STEPS
from .tensor_sizes import require_shape

CODE_REMEDY = "it holds more than tensors or is no file of weights, so nothing of it is loaded"
_UTILS = "torch._utils "
# The type of the values, by the name of the storage.
_STORAGES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
    # Of bytes: `_rebuild_tensor_v3` names the type.
    "torch.storage UntypedStorage": torch.uint8,
}
_DTYPES = {
    f"torch {name}": getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8"),
        *("uint8", "bool", "uint16", "uint32", "uint64"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
    if hasattr(torch, name)
}
# Values that trainers put beside the weights. They become nothing.
_INERT = {
    "torch Size",
    "torch device",
    "collections Counter",
    "collections defaultdict",
    "numpy.core.multiarray scalar",
    "numpy._core.multiarray scalar",
    "numpy dtype",
    "_codecs encode",
    "pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint",
}
_TENSORS = {
    f"{_UTILS}_rebuild_tensor",
    f"{_UTILS}_rebuild_tensor_v2",
    f"{_UTILS}_rebuild_tensor_v3",
}
_PARAMETERS = {f"{_UTILS}_rebuild_parameter", f"{_UTILS}_rebuild_parameter_with_state"}
_OTHER_TENSORS = (
    ("sparse", "a sparse tensor"),
    ("meta", "a tensor without numbers (device meta)"),
    ("qtensor", "a quantised tensor"),
    ("wrapper", "a tensor of another library"),
    ("nested", "a nested tensor"),
)
_MARK = object()
_INERT_VALUE = object()


@dataclass(frozen=True)
class StoredNumbers:
    """A storage: its key in the file, the type of its values, how many there are."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a storage. offset and strides: in values of `dtype`."""

    storage: StoredNumbers
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Named:
    """Something that the pickle would import."""

    name: str


class Pickled(NamedTuple):
    """The value of a pickle, the bytes that it takes, and the storages that it names, by key."""

    value: Any
    size: int
    storages: dict[str, "StoredNumbers"]


def read_pickle(data: bytes) -> Pickled:
    """The first pickle in `data`.

    Raises: Fault for a step that torch.save does not write, a name that is not for weights, and a
    pickle that is too long.
    """
    machine = _Machine()
    try:
        for num_steps, (step, argument, at) in enumerate(pickletools.genops(io.BytesIO(data))):
            if num_steps > MAX_PICKLE_STEPS:
                raise Fault(f"names its tensors in more than {MAX_PICKLE_STEPS} steps")
            if step.name == "STOP":
                return Pickled(machine.pop(), (at or 0) + 1, machine.storages)
            machine.do(step.name, argument)
    except Fault:
        raise
    # pickletools raises a ValueError with parts of the file in it; a short stack is an IndexError.
    except (ValueError, LookupError, TypeError) as error:
        raise Fault("could not be read (its list of tensors is broken)", CODE_REMEDY) from error
    raise AssertionError("genops ends with STOP or an error")


def require_pickle_size(size: int) -> None:
    """Raise Fault for a pickle of too many bytes."""
    if size > MAX_PICKLE_BYTES:
        raise Fault(f"names its tensors in {size} bytes, more than {MAX_PICKLE_BYTES}")


@dataclass(eq=False)
class _Machine:
    """The stack and the memory of a pickle."""

    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    storages: dict[str, StoredNumbers] = field(default_factory=dict)

    def do(self, step: str, argument: Any) -> None:
        """One step."""
        stack = self.stack
        if step in ("PROTO", "FRAME"):
            return
        if step in _CONSTANTS:
            stack.append(_CONSTANTS[step])
        elif step in _ARGUMENTS:
            stack.append(argument)
        elif step in _EMPTY:
            stack.append(_EMPTY[step]())
        elif step in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif step == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif step in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif step == "GLOBAL":
            stack.append(_named(argument))
        elif step == "STACK_GLOBAL":
            name, module = self.pop(), self.pop()
            stack.append(_named(f"{module} {name}"))
        elif step in _TUPLES:
            stack.append(tuple(reversed([self.pop() for _ in range(_TUPLES[step])])))
        elif step == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif step == "BINPERSID":
            storage = _storage(self.pop())
            if self.storages.setdefault(storage.key, storage) != storage:
                raise Fault(f"describes the storage {quoted(storage.key)} in two ways", CODE_REMEDY)
            stack.append(storage)
        elif step in ("REDUCE", "NEWOBJ"):
            arguments, called = self.pop(), self.pop()
            stack.append(_made(called, arguments))
        elif step == "BUILD":
            # Attributes of a dict of weights, as `_metadata` of a module's; nobody reads them.
            self.pop()
        else:
            self.fill(step)

    def fill(self, step: str) -> None:
        """Steps that put values into the list or dict below them."""
        if step in ("APPEND", "SETITEM"):
            values = [self.pop() for _ in range(1 if step == "APPEND" else 2)][::-1]
        elif step in ("APPENDS", "SETITEMS", "ADDITEMS"):
            values = self.since_mark()
        else:
            raise Fault(
                f"could not be read (it has the step {quoted(step)}, which torch never writes)",
                CODE_REMEDY,
            )
        held = self.stack[-1]
        if step.startswith("SETITEM") and isinstance(held, dict):
            for key, value in zip(values[::2], values[1::2], strict=True):
                # The hash of a nested tuple can take for ever.
                if not isinstance(key, str | int | float | bool | None | _Named):
                    raise Fault("holds a dict whose keys are no names", CODE_REMEDY)
                held[key] = value
        elif step.startswith("APPEND") and isinstance(held, list):
            held.extend(values)
        elif held is not _INERT_VALUE and step != "ADDITEMS":
            raise Fault("could not be read (its list of tensors is broken)", CODE_REMEDY)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise Fault("could not be read (its list of tensors is broken)", CODE_REMEDY)
        return value

    def since_mark(self) -> list[Any]:
        """All values after the newest mark, which goes too."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]


_CONSTANTS = {"MARK": _MARK, "NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ARGUMENTS = {
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINBYTES", "BINBYTES"),
}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": object}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _named(name: str) -> _Named:
    is_known = (
        name in _STORAGES
        or name in _DTYPES
        or name in _INERT
        or name in _TENSORS
        or name in _PARAMETERS
        or name == "collections OrderedDict"
    )
    if is_known:
        return _Named(name)
    for part, what in _OTHER_TENSORS:
        if name.startswith(_UTILS) and part in name:
            raise Fault(f"holds {what}", "save it again as plain tensors, as safetensors")
    raise Fault(
        f"could not be read (it names the code {quoted(name.replace(' ', '.'))}, which is never "
        "run)",
        CODE_REMEDY,
    )


def _storage(identity: Any) -> StoredNumbers:
    """The storage behind torch's ("storage", type, key, device, number of values)."""
    is_storage = isinstance(identity, tuple) and len(identity) in (5, 6)
    if not is_storage or identity[0] != "storage" or any(identity[5:]):
        raise Fault("could not be read (a storage of unknown form)", CODE_REMEDY)
    kind, key, _, count = identity[1:5]
    if not isinstance(kind, _Named) or kind.name not in _STORAGES or not isinstance(key, str):
        raise Fault("could not be read (a storage of unknown type)", CODE_REMEDY)
    (count,) = require_shape(key, (count,))
    return StoredNumbers(key, _STORAGES[kind.name], count)


def _made(called: Any, arguments: Any) -> Any:
    """The result of a call that the pickle asks for, described."""
    if not isinstance(called, _Named) or not isinstance(arguments, tuple):
        raise Fault("could not be read (a call of unknown form)", CODE_REMEDY)
    if called.name == "collections OrderedDict" and arguments == ():
        return {}
    if called.name in _TENSORS:
        return _tensor(called.name, arguments)
    if called.name in _PARAMETERS and arguments and isinstance(arguments[0], StoredTensor):
        return arguments[0]
    if called.name in _INERT:
        return _INERT_VALUE
    raise Fault(f"could not be read (a call of {quoted(called.name)})", CODE_REMEDY)


def _tensor(name: str, arguments: tuple[Any, ...]) -> StoredTensor:
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, StoredNumbers):
        raise Fault("could not be read (a tensor without a storage)", CODE_REMEDY)
    dtype = storage.dtype
    # Flags of a conjugate or negated view: its numbers are not the numbers in the file.
    if name.endswith("_v2") and any(arguments[6:]):
        raise Fault("holds a conjugate or negated view", "save it again as plain tensors")
    if name.endswith("_v3"):
        kind = arguments[6]
        if not isinstance(kind, _Named) or kind.name not in _DTYPES:
            raise Fault("could not be read (a tensor of unknown type)", CODE_REMEDY)
        dtype = _DTYPES[kind.name]
    (offset,) = require_shape(storage.key, (offset,))
    shape, strides = require_shape(storage.key, shape), require_shape(storage.key, strides)
    if len(shape) != len(strides):
        raise Fault("could not be read (a tensor whose strides do not fit its shape)", CODE_REMEDY)
    return StoredTensor(storage, dtype, offset, shape, strides)
