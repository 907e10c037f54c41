"""CUT3R's recurrent state as a context encoder, through the user's own checkout.

CUT3R (https://github.com/CUT3R/CUT3R) is licensed CC BY-NC-SA 4.0: no line of it is here, and its
checkout and weights are the user's. Frames go through its recurrence one after another; the state
behind the last one is the context, 768 tokens of 768 numbers for the published weights. CUT3R finds
cameras by itself, so ours are not read.

F frames, H rows, W columns, N tokens of the state.

Source: App. B, arXiv:2601.16296v2.
"""

import ast
import hashlib
import importlib
import pickle
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from ..cameras.trajectory import CameraTrajectory
from ..weights.reading.boundary import one_line
from .encoder import require_clip, require_tokens

MODEL_FILE = Path("src") / "dust3r" / "model.py"
_MODEL_CLASS, _MODULE = "ARCroco3DStereo", "dust3r.model"
_LOAD, _ENCODE, _RETURN_STATE = "from_pretrained", "forward_recurrent", "ret_state"
# What the recurrence reads of a view; also what ours has.
VIEW_KEYS = ("img", "ray_map", "true_shape", "img_mask", "ray_mask", "update", "reset")
_PATCH, _RAY_VALUES = 16, 6
# The published weights: the long side of their views, and the square ones of the first training.
_SIZE, _SQUARE_SIZE = 512, 224
_HASH_DIGITS, _PIECE = 12, 2**24
_REMEDY = "clone https://github.com/CUT3R/CUT3R and name its folder"


@dataclass(frozen=True)
class Cut3rPlace:
    """A checkout of CUT3R, and a file of its weights.

    size: pixels of the long side of its views, or 224 for the weights that take squares.
    """

    checkout: Path
    weights: Path
    size: int = _SIZE


@dataclass(frozen=True, eq=False)
class Cut3rEncoder:
    """The state of a CUT3R after all frames of a video.

    model: CUT3R's own, loaded from `place`.
    """

    place: Cut3rPlace
    model: Any

    @cached_property
    def identity(self) -> str:
        return f"CUT3R state, {_file_hash(self.place.weights)}, size {self.place.size}"

    @cached_property
    def width(self) -> int:
        """Numbers of a token, as the model's decoder has them."""
        return int(self.model.dec_embed_dim)

    @torch.no_grad()
    def encode(self, frames: torch.Tensor, cameras: CameraTrajectory) -> torch.Tensor:
        """The state (N, width) after the last frame.

        Raises: ValueError as `require_clip`, for a checkout without its compiled RoPE, and for one
        whose recurrence gives something else.
        """
        require_clip("CUT3R", frames, cameras)
        device = next(self.model.parameters()).device
        views = recurrent_views(frames, self.place.size, device)
        try:
            given = getattr(self.model, _ENCODE)(views, device, **{_RETURN_STATE: True})
        except IndexError as error:
            raise ValueError(
                "CUT3R's RoPE in plain torch refuses the position -1 of its pose token "
                "(CUT3R#26); compile src/croco/models/curope as its README says"
            ) from error
        # Results of every view, the views, and the states: one before all views, one behind each.
        if not isinstance(given, tuple) or len(given) != 3 or len(given[2]) != len(frames) + 1:
            raise ValueError(
                f"CUT3R's {_ENCODE} gave {one_line(type(given).__name__)}, wanted results, views "
                f"and {len(frames) + 1} states; use a checkout that passes `require_checkout`"
            )
        state = given[2][-1][0]  # (1, N, width)
        return require_tokens("CUT3R", state[0].float(), self.width)


def recurrent_views(
    frames: torch.Tensor, size: int, device: torch.device
) -> list[dict[str, torch.Tensor]]:
    """Frames (F, 3, H, W) in [0, 1] as the views that CUT3R's recurrence reads, one a frame.

    Pictures are scaled to `size` and cut in the middle to whole patches. Our choice: a square stays
    a square, of which CUT3R's demo keeps a part of 4 x 3.
    """
    pictures = _fitted(frames.clamp(0, 1), size).to(device)
    height, width = pictures.shape[-2:]

    def flag(value: bool) -> torch.Tensor:
        return torch.tensor([value], device=device)

    return [
        {
            "img": picture[None] * 2 - 1,  # (1, 3, H, W)
            # No rays are given; the recurrence takes channels last.
            "ray_map": torch.zeros(1, height, width, _RAY_VALUES, device=device),
            "true_shape": torch.tensor([[height, width]], dtype=torch.int32, device=device),
            "img_mask": flag(True),
            "ray_mask": flag(False),
            "update": flag(True),
            "reset": flag(False),
        }
        for picture in pictures
    ]


def _fitted(frames: torch.Tensor, size: int) -> torch.Tensor:
    height, width = frames.shape[-2:]
    # Weights for squares take the middle square; the others any aspect.
    scale = size / (min(height, width) if size == _SQUARE_SIZE else max(height, width))
    grown = (round(height * scale), round(width * scale))
    scaled = F.interpolate(frames, grown, mode="bilinear", antialias=True)
    rows, columns = (min(side, size) // _PATCH * _PATCH for side in grown)
    if not rows or not columns:
        raise ValueError(
            f"CUT3R got frames of {width} x {height}, wanted an aspect that leaves {_PATCH} pixels "
            f"of the short side at {size} of the long one; cut the video"
        )
    top, left = (grown[0] - rows) // 2, (grown[1] - columns) // 2
    return scaled[..., top : top + rows, left : left + columns]


def require_checkout(checkout: Path) -> None:
    """Raise ValueError unless a folder is a checkout of CUT3R with the interface that we use.

    The source is parsed, not run.
    """
    path = checkout / MODEL_FILE
    if not path.is_file():
        raise ValueError(
            f"CUT3R's checkout got {one_line(checkout)}, which has no {MODEL_FILE.as_posix()}; "
            f"{_REMEDY}"
        )
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeError) as error:
        raise ValueError(
            f"CUT3R's checkout got a {MODEL_FILE.as_posix()} that is no Python, wanted CUT3R's; "
            f"{_REMEDY} again"
        ) from error
    if missing := _missing_interface(tree):
        raise ValueError(
            f"CUT3R's checkout got a {MODEL_FILE.as_posix()} without {missing}, wanted the "
            f"interface of commit 8bc15dc; check that commit out"
        )


def _missing_interface(tree: ast.Module) -> str:
    """What of the interface the source lacks, in words; "" for nothing."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if _MODEL_CLASS not in classes:
        return f"the class {_MODEL_CLASS}"
    methods = {n.name: n for n in classes[_MODEL_CLASS].body if isinstance(n, ast.FunctionDef)}
    for name in (_LOAD, _ENCODE):
        if name not in methods:
            return f"the method {name}"
    encode = methods[_ENCODE]
    if [each.arg for each in encode.args.args] != ["self", "views", "device", _RETURN_STATE]:
        return f"{_ENCODE}(self, views, device, {_RETURN_STATE})"
    triples = [
        node.value
        for node in ast.walk(encode)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple)
    ]
    if not any(len(each.elts) == 3 for each in triples):
        return f"a return of three values from {_ENCODE}"
    # Keys that the recurrence reads with [...] and that our views lack would stop it.
    read = {
        node.slice.value
        for node in ast.walk(encode)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "view"
        and isinstance(node.slice, ast.Constant)
    }
    if foreign := sorted(map(str, read - set(VIEW_KEYS))):
        return f"views that do without {foreign[0]!r}"
    return ""


def load_cut3r(place: Cut3rPlace, device: torch.device | None = None) -> Cut3rEncoder:
    """The encoder from a checkout and its weights.

    The checkout's code runs in this process, and it reads its weights as it likes: name only files
    that you trust.

    Raises: ValueError for a folder that is no checkout, weights that are not there, packages that
    CUT3R needs and that are missing, and weights that its own loader refuses.
    """
    require_checkout(place.checkout)
    if not place.weights.is_file():
        raise ValueError(
            f"CUT3R's weights got {one_line(place.weights)}, which is no file; download "
            "cut3r_512_dpt_4_64.pth as its README says"
        )
    module = _imported(place.checkout)
    try:
        model = getattr(getattr(module, _MODEL_CLASS), _LOAD)(str(place.weights))
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"CUT3R's weights got {one_line(place.weights)}, which torch takes for more than "
            "tensors; if you trust the file, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"
        ) from error
    model = model.to(device or torch.device("cpu")).eval().requires_grad_(False)
    return Cut3rEncoder(place, model)


def _imported(checkout: Path) -> ModuleType:
    """CUT3R's model as a module of this process.

    Raises: ValueError where another checkout was imported before, or a package is missing.
    """
    source = (checkout / MODEL_FILE.parts[0]).resolve()
    loaded = sys.modules.get(_MODULE)
    if loaded is not None:
        if Path(str(loaded.__file__)).resolve().is_relative_to(source):
            return loaded
        raise ValueError(
            f"CUT3R's checkout got {one_line(checkout)} after another one was loaded from "
            f"{one_line(loaded.__file__)}, wanted one a process; start again"
        )
    # Its packages import each other by these names.
    sys.path.insert(0, str(source))
    try:
        return importlib.import_module(_MODULE)
    except ImportError as error:
        raise ValueError(
            f"CUT3R's checkout {one_line(checkout)} could not be imported ({one_line(error)}), "
            "wanted its packages; install its requirements.txt into this Python"
        ) from error
    finally:
        sys.path.remove(str(source))


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()[:_HASH_DIGITS]
