"""Motion scenes and camera tracks of Majoor OmniCam to our convention.

A motion scene (version 1) holds `timeline`, `canvas` and `cameras`, each camera with a track
(schema 1) of keyframes. A keyframe has a place, the point that is looked at, a roll in degrees and
a vertical angle of view in degrees, in a right-handed world with +Y up. Between keyframes all of
these are interpolated with the easing of the earlier one.

Source: ComfyUI-Majoor-OmniCam (MIT), schemas/track.v1.schema.json, omnicam/core/motion_scene.py,
track.py and camera_math.py, read in November 2026.
"""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..trajectory import CameraTrajectory
from .reading.content import (
    file_error,
    finite_numbers,
    flat,
    number_reader,
    require_objects,
)
from .reading.found import kind_of, known_or_kind
from .reading.lenses import lens_matrix
from .reading.poses import require_place
from .reading.results import ImportedCameras, ImportSettings, shown_setting

_VERSION = 1
_MAX_FRAMES = 14_400  # of the schema
_CURVES = ("bezier",)  # known to OmniCam; our cameras cannot follow them
_LEAST_FOV_DEG = 1 / 3600
# The share of the way, by the share of the time.
_EASINGS: dict[str, Callable[[float], float]] = {
    "hold": lambda _: 0.0,
    "linear": lambda u: u,
    "ease": lambda u: u * u * (3 - 2 * u),
    "ease_in": lambda u: u * u,
    "ease_out": lambda u: 1 - (1 - u) * (1 - u),
    "smooth": lambda u: u**3 * (u * (u * 6 - 15) + 10),
}


@dataclass(frozen=True)
class _Key:
    """One keyframe: place and target (3,) in the file's world, angles in degrees."""

    frame_idx: int
    easing: str
    place: tuple[float, ...]
    target: tuple[float, ...]
    fov_deg: float
    roll_deg: float


def is_omnicam(content: Any) -> bool:
    """Whether a JSON file's content is a motion scene or a camera track of OmniCam."""
    if not isinstance(content, dict):
        return False
    return {"timeline", "canvas", "cameras"} <= content.keys() or {
        "keyframes",
        "duration_frames",
    } <= content.keys()


def read_omnicam(content: dict[str, Any], path: Path, settings: ImportSettings) -> ImportedCameras:
    """Every frame of one camera of a scene, or of a track.

    Raises: ValueError for several cameras unless `settings.camera` names one by id or label, for
    later versions, and for what our cameras cannot follow: orthographic cameras, Bezier curves and
    look-at constraints.
    """
    version = content.get("version", content.get("schema_version", _VERSION))
    if version != _VERSION:
        raise file_error(
            path,
            f"version {kind_of(version)} of OmniCam's format",
            f"version {_VERSION}",
            "update us",
        )
    track = _chosen_track(content, path, settings.camera) if "cameras" in content else content
    number = number_reader(track, path, "the track")
    width, height, num_frames = number("width"), number("height"), number("duration_frames")
    if not width or not height or not num_frames or not 1 <= num_frames <= _MAX_FRAMES:
        found = (kind_of(value) for value in (width, height, num_frames))
        raise file_error(
            path,
            "width {}, height {} and duration_frames {}".format(*found),
            f"all three, and 1 to {_MAX_FRAMES} frames",
            "export the scene again",
        )
    keys = _keys(track, path)
    times = [key.frame_idx for key in keys]
    states = [_sampled(keys, times, frame_idx) for frame_idx in range(int(num_frames))]
    lenses = [_lens(state, width / height, path) for state in states]
    trajectory = CameraTrajectory(torch.stack([_c2w(s) for s in states]), torch.stack(lenses))
    return ImportedCameras(trajectory, _notes(track))


def _chosen_track(content: dict[str, Any], path: Path, wanted: str) -> dict[str, Any]:
    cameras = require_objects(content["cameras"], path, "a track")
    chosen = [camera for camera in cameras if wanted in (camera.get("id"), camera.get("label"))]
    if len(cameras) > 1 and len(chosen) != 1:
        raise file_error(
            path,
            f"{len(cameras)} cameras, {len(chosen)} of them with this id or label",
            f"one in camera, not {shown_setting(wanted)}",
            "write the id that the camera has in OmniCam",
        )
    track = (chosen or cameras)[0].get("track")
    if not isinstance(track, dict):
        raise file_error(path, "a camera without a track", "keyframes", "export the scene again")
    return track


def _keys(track: dict[str, Any], path: Path) -> list[_Key]:
    """Keyframes in order of time.

    Raises: ValueError for what our cameras cannot follow.
    """
    constraints = track.get("constraints")
    look_at = constraints.get("look_at") if isinstance(constraints, dict) else None
    if isinstance(look_at, dict) and look_at.get("status") == "active":
        raise file_error(
            path, "an active look-at constraint", "plain keyframes", "bake the camera in OmniCam"
        )
    keys = {}
    for entry in require_objects(track.get("keyframes"), path, "a camera"):
        key = _key(entry, path)
        keys[key.frame_idx] = key
    ordered = [keys[frame_idx] for frame_idx in sorted(keys)]
    curved = [key for key in ordered if key.easing not in _EASINGS]
    if curved and len(ordered) > 1:
        raise file_error(
            path,
            f"interpolation {known_or_kind(curved[0].easing, _CURVES)} at frame "
            f"{curved[0].frame_idx}",
            f"one of {', '.join(_EASINGS)}",
            "choose one of these in OmniCam",
        )
    return ordered


def _key(entry: dict[str, Any], path: Path) -> _Key:
    number = number_reader({"frame": entry.get("frame")}, path, "a keyframe")
    frame_idx = 0 if entry.get("frame") == 0 else number("frame")
    camera = entry.get("camera")
    if frame_idx is None or frame_idx > _MAX_FRAMES or not isinstance(camera, dict):
        got = f"a keyframe at frame {kind_of(frame_idx)} with {kind_of(camera)} as its camera"
        wanted = f"a frame up to {_MAX_FRAMES} and a camera"
        raise file_error(path, got, wanted, "export the scene again")
    where = f"keyframe {frame_idx:g}"
    if camera.get("camera_type", "perspective") != "perspective":
        raise file_error(
            path, f"an orthographic camera in {where}", "perspective", "change it in OmniCam"
        )
    place, target = (
        finite_numbers(flat(camera.get(key), path, what), path, what)
        for key, what in ((key, f"the {key} of {where}") for key in ("position", "target"))
    )
    fov_deg, roll_deg = finite_numbers([camera.get("fov"), camera.get("roll", 0.0)], path, where)
    if len(place) != 3 or len(target) != 3 or not _LEAST_FOV_DEG <= fov_deg < 180:
        raise file_error(
            path,
            f"{len(place)} numbers of position, {len(target)} of target and fov {fov_deg:g} in "
            f"{where}",
            "three numbers, three numbers, and an angle between 0 and 180",
            "export the scene again",
        )
    require_place((*place, *target), path, where)
    easing = entry.get("interpolation", "ease")
    if not isinstance(easing, str):
        got = f"{kind_of(easing)} as interpolation of {where}"
        raise file_error(path, got, f"one of {', '.join(_EASINGS)}", "export the scene again")
    return _Key(int(frame_idx), easing, tuple(place), tuple(target), fov_deg, roll_deg)


def _sampled(keys: list[_Key], times: list[int], frame_idx: int) -> _Key:
    """The camera of one frame; before the first key and after the last it stands still.

    times: frames of the keys.
    """
    after = bisect.bisect_right(times, frame_idx)
    if after == 0 or after == len(keys):
        return keys[min(after, len(keys) - 1)]
    start, end = keys[after - 1], keys[after]
    time = (frame_idx - start.frame_idx) / (end.frame_idx - start.frame_idx)
    share = _EASINGS[start.easing](time)
    # Rolls take the shorter way round.
    turn_deg = (end.roll_deg - start.roll_deg + 540) % 360 - 180
    return _Key(
        frame_idx,
        start.easing,
        _mixed(start.place, end.place, share),
        _mixed(start.target, end.target, share),
        start.fov_deg + share * (end.fov_deg - start.fov_deg),
        start.roll_deg + share * turn_deg,
    )


def _mixed(start: tuple[float, ...], end: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(a + share * (b - a) for a, b in zip(start, end, strict=True))


def _c2w(key: _Key) -> torch.Tensor:
    """Camera-to-world (4, 4) float64: looks at the target, +Y of the world up, then rolled.

    A camera without a distance to its target looks along -Z; one that looks straight up or down
    has the world's Z in place of Y, as in OmniCam.
    """
    place, target = (torch.tensor(v, dtype=torch.float64) for v in (key.place, key.target))
    forward = _unit(target - place, (0.0, 0.0, -1.0))
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    if float(torch.linalg.cross(forward, up).norm()) < 1e-6:
        up = torch.tensor([0.0, 0.0, -1.0 if forward[1] > 0 else 1.0], dtype=torch.float64)
    right = _unit(torch.linalg.cross(forward, up), (1.0, 0.0, 0.0))
    down = -torch.linalg.cross(right, forward)
    # A positive roll turns right towards up.
    roll = math.radians(key.roll_deg)
    rolled_right = right * math.cos(roll) - down * math.sin(roll)
    rolled_down = down * math.cos(roll) + right * math.sin(roll)
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3] = torch.stack([rolled_right, rolled_down, forward, place], dim=1)
    return c2w


def _unit(vector: torch.Tensor, fallback: tuple[float, ...]) -> torch.Tensor:
    length = float(vector.norm())
    return vector / length if length > 1e-9 else torch.tensor(fallback, dtype=torch.float64)


def _lens(state: _Key, aspect: float, path: Path) -> torch.Tensor:
    """Normalised intrinsics (3, 3) of a vertical angle of view."""
    focal = 0.5 / math.tan(math.radians(state.fov_deg) / 2)
    if not aspect:
        raise file_error(path, "a width of 0", "pixels", "export the scene again")
    return lens_matrix(focal / aspect, focal, path, f"frame {state.frame_idx}")


def _notes(track: dict[str, Any]) -> tuple[str, ...]:
    cameras = [entry.get("camera") or {} for entry in track["keyframes"]]
    if all(camera.get("zoom", 1) == 1 for camera in cameras):
        return ()
    return ("OmniCam's zoom is not used; the angle of view is, as in OmniCam's own Wan cameras.",)
