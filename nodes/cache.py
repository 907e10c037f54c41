"""The memory cache: named sessions on disk, and what a user does with turns."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..memv2v_core.bases.base_info import BaseInfo
from ..memv2v_core.cache.entry import MemoryEntry
from ..memv2v_core.cache.manifest import read_manifest
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cache.storage import load_session, save_session, session_folder
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.sampling.turn import finished_entry
from ..memv2v_core.shapes import num_latent_frames, padded_num_frames
from .attachment import base_info
from .compat import shows_result
from .io_types import CATEGORY, Cache, Camera
from .sampling import sessions_root

KEEP, PIN, UNPIN, FORGET, BRANCH = "none", "pin", "unpin", "forget", "branch"


class MemoryCacheNode(io.ComfyNode):
    """Starts, loads and edits a cache."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemoryCache",
            display_name="Memory Cache",
            category=CATEGORY,
            description="All finished turns of a session. With a session name every turn is on "
            "disk as soon as it is finished (output/memory_v2v/NAME) and is there "
            "again tomorrow; without one the cache lives in the graph.",
            inputs=[
                io.String.Input(
                    "session",
                    default="",
                    tooltip="Name of a session on disk, loaded with all its turns; empty for a new "
                    "cache in the graph. With a cache connected: save that cache, and all "
                    "that is appended to it, under this name.",
                ),
                Cache.Input(
                    "cache",
                    optional=True,
                    tooltip="A cache to edit or to save, instead of starting or loading one.",
                ),
                io.Combo.Input(
                    "action",
                    options=[KEEP, PIN, UNPIN, FORGET, BRANCH],
                    default=KEEP,
                    tooltip="pin: always retrieve this turn. forget: drop it, on disk too. branch: "
                    "go on from it without the later turns, in the graph; connect a second "
                    "Memory Cache to give the branch a session.",
                ),
                io.String.Input(
                    "entry",
                    default="",
                    tooltip="Id of the turn that the action is for, as this node lists it; its "
                    "start is enough.",
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="A finished video to append, such as KSampler's result.",
                ),
                Camera.Input(
                    "camera",
                    optional=True,
                    tooltip="The camera path of that video. Needed with latent.",
                ),
                io.Model.Input(
                    "model", optional=True, tooltip="The model that made it. Needed with latent."
                ),
                io.Latent.Input(
                    "source",
                    optional=True,
                    tooltip="The source that it was made from, kept beside it.",
                ),
            ],
            outputs=[
                Cache.Output(
                    display_name="cache", tooltip="Wire it to VideoFOV Retrieve and to the sampler."
                ),
                io.String.Output(
                    display_name="contents",
                    tooltip="One line a turn, and what could not be loaded.",
                ),
            ],
            **shows_result(),
        )

    @classmethod
    def validate_inputs(cls, session: str | None) -> bool | str:
        try:
            if session:
                session_folder(Path(), session)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, session: str | None = "", **kwargs) -> str:
        # A connected cache (listed as None here) replaces what is on disk, which then does not
        # matter.
        if not session or "cache" in kwargs:
            return ""
        return folder_state(session_folder(sessions_root(), session))

    @classmethod
    def execute(
        cls,
        session: str,
        action: str,
        entry: str,
        cache: MemoryCache | None = None,
        latent: dict | None = None,
        camera: CameraTrajectory | None = None,
        model: ModelPatcher | None = None,
        source: dict | None = None,
    ) -> io.NodeOutput:
        opened, notes = open_cache(session) if cache is None else (cache, ())
        cache = renamed(opened, session)
        if latent is not None:
            cache = cache.append(imported_entry(cache, latent, camera, model, source))
        cache, remarks = edit_cache(cache, action, entry.strip())
        if cache.session is not None and cache is not opened:
            remarks += save_session(cache, session_folder(sessions_root(), cache.session))
        contents = describe_cache(cache, (*notes, *remarks))
        return io.NodeOutput(cache, contents, ui=ui.PreviewText(contents))


class RecallTurn(io.ComfyNode):
    """A remembered turn, as it left the sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RecallTurn",
            display_name="Recall Turn",
            category=CATEGORY,
            description="Takes a finished turn out of the cache: the sampler's own latent, to "
            "decode or to refine today what was made yesterday, or after a decode that "
            "failed. Nothing is sampled again.",
            inputs=[
                Cache.Input(
                    "cache",
                    tooltip="From Memory Cache, with the session's name, or from a sampler.",
                ),
                io.Int.Input(
                    "turn",
                    default=0,
                    min=0,
                    max=100_000,
                    tooltip="Which turn, counted from 1; 0 for the newest.",
                ),
                io.String.Input(
                    "entry",
                    default="",
                    tooltip="Id of the turn as Memory Cache lists it, instead of its number; its "
                    "start is enough.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="For VAE Decode, with the VAE of the turn's model.",
                ),
                Camera.Output(display_name="camera", tooltip="The turn's camera path."),
                io.String.Output(
                    display_name="info", tooltip="Which turn it is and how it was made."
                ),
            ],
        )

    @classmethod
    def execute(cls, cache: MemoryCache, turn: int, entry: str) -> io.NodeOutput:
        recalled = chosen_entry(cache, turn, entry.strip())
        info = describe_entry(recalled)
        # Cloned: whoever changes a latent in place must not change the memory.
        return io.NodeOutput(
            {"samples": recalled.latent.unsqueeze(0).clone()},
            recalled.camera,
            info,
            ui=ui.PreviewText(info),
        )


def chosen_entry(cache: MemoryCache, turn: int, entry: str) -> MemoryEntry:
    """The entry of this id, else of this turn number, else the newest.

    Raises: ValueError when there is none, when several match, and when id and number name different
    turns.
    """
    if entry:
        found = cache.get(entry)
        if turn not in (0, found.turn):
            raise ValueError(
                f"turn got {turn}, wanted {found.turn}, the number of entry {entry!r}, or 0; set "
                "one of them"
            )
        return found
    if turn:
        return cache.of_turn(turn)
    if cache.newest is None:
        raise ValueError(
            "cache got no turns, wanted at least one to recall; check the session's name in Memory "
            "Cache"
        )
    return cache.newest


def open_cache(session: str) -> tuple[MemoryCache, tuple[str, ...]]:
    """The cache of a named session, or an empty one, with what was repaired and what was skipped.

    Raises: ValueError for a name that is no folder name.
    """
    if not session:
        return MemoryCache(), ()
    loaded = load_session(session_folder(sessions_root(), session))
    return loaded.cache, (*loaded.notices, *(f"skipped {reason}" for reason in loaded.skipped))


def edit_cache(cache: MemoryCache, action: str, entry: str) -> tuple[MemoryCache, tuple[str, ...]]:
    """`cache` after the action, and remarks on it.

    Raises: ValueError when the action needs a turn and none or several match.
    """
    if action == KEEP:
        return cache, ()
    if not entry:
        raise ValueError(
            f"entry got nothing, wanted the id of the turn to {action}; this node lists the ids"
        )
    if action == BRANCH:
        return cache.branch(entry), (
            f"branched after {entry}: lives in the graph, the old session stays as it is",
        )
    if action == FORGET:
        if _was_forgotten(cache, entry):  # so that a graph whose action stays at forget runs again
            return cache, (f"{entry} was forgotten earlier",)
        return cache.forget(entry), ()
    return cache.pin(entry, action == PIN), ()


def imported_entry(
    cache: MemoryCache,
    latent: dict,
    camera: CameraTrajectory | None,
    model: ModelPatcher | None,
    source: dict | None,
) -> MemoryEntry:
    """A turn made by other nodes.

    Raises: ValueError when the model or the camera is missing, or they do not fit the latent.
    """
    for name, given in (("model", model), ("camera", camera)):
        if given is None:
            raise ValueError(
                f"{name} got nothing, wanted the {name} of the latent to append; connect it"
            )
    info = base_info(model)
    samples = _one_video("latent", latent, info)
    wanted = num_latent_frames(
        padded_num_frames(camera.num_frames, info.ratios.temporal), info.ratios.temporal
    )
    if samples.shape[1] != wanted:
        num_frames = (samples.shape[1] - 1) * info.ratios.temporal + 1
        raise ValueError(
            f"camera got {camera.num_frames} frames, wanted {num_frames}: the latent has "
            f"{samples.shape[1]} latent frames; set num_frames of the path to {num_frames}"
        )
    newest = cache.newest
    return finished_entry(
        samples,
        camera,
        model_name=info.model_name,
        mode=info.mode,
        num_frames=camera.num_frames,
        turn=cache.next_turn,
        seed=0,
        source_latent=None if source is None else _one_video("source", source, info),
        parent_id=newest.entry_id if newest is not None else None,
    )


def renamed(cache: MemoryCache, session: str) -> MemoryCache:
    """`cache` under this session name; under its own where the name is empty."""
    return replace(cache, session=session) if session and session != cache.session else cache


def describe_entry(entry: MemoryEntry) -> str:
    """One line on how an entry was made."""
    pin = ", pinned" if entry.is_pinned else ""
    place = "" if entry.segment is None else f"  segment {entry.segment.idx + 1}"
    what = f"seed {entry.seed}  {entry.num_frames} frames  {entry.mode}{pin}"
    return f"turn {entry.turn}{place}  {entry.entry_id[:8]}  {what}"


def describe_cache(cache: MemoryCache, notes: tuple[str, ...]) -> str:
    """One line a turn, oldest first, then the notes."""
    name = f"session {cache.session!r}" if cache.session else "cache in the graph"
    lines = [
        f"{name}: {len(cache)} turns" + (f" of {cache.model_name}" if cache.model_name else "")
    ]
    return "\n".join((*lines, *map(describe_entry, cache.entries), *notes))


def folder_state(folder: Path) -> str:
    """Name, time and size of every file in a session's folder: a text that changes when a turn, pin
    or file does.
    """
    if not folder.is_dir():
        return "absent"
    states = []
    for path in sorted(folder.iterdir()):
        with suppress(OSError):  # another writer's lock or temporary file, gone meanwhile
            status = path.stat()
            states.append(f"{path.name}:{status.st_mtime_ns}:{status.st_size}")
    return " ".join(states)


def _one_video(name: str, latent: dict, info: BaseInfo) -> torch.Tensor:
    samples = latent["samples"]
    if samples.ndim != 5 or samples.shape[0] != 1 or samples.shape[1] != info.ratios.channels:
        raise ValueError(
            f"{name} got shape {tuple(samples.shape)}, wanted one video (1, "
            f"{info.ratios.channels}, frames, height, width) of {info.model_name}; encode it with "
            "that model's VAE, or take one with Latent From Batch"
        )
    return samples[0].detach().cpu()


def _was_forgotten(cache: MemoryCache, entry: str) -> bool:
    if cache.session is None or any(held.entry_id.startswith(entry) for held in cache.entries):
        return False
    manifest, _ = read_manifest(session_folder(sessions_root(), cache.session))
    return manifest is not None and any(
        entry_id.startswith(entry) for entry_id, _ in manifest.forgotten
    )


NODES = [MemoryCacheNode, RecallTurn]
