"""The memory cache: named sessions on disk, and the actions of users on turns."""

import time

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..memv2v_core.cache.memory_cache import DAY_S, MemoryCache
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from .host.compat import shows_result
from .host.menu import in_menu
from .host.sampling.imported import imported_entry
from .host.sampling.takes import finished_latent, in_place_of
from .host.sessions.folders import refused_name, session_state, was_forgotten
from .host.sessions.makers import REPLACE, maker_of, makers_after
from .host.sessions.saving import (
    open_cache,
    renamed,
    saved,
    saved_or_kept,
    superseding,
    without_expired,
)
from .host.shared_inputs import TAKE_INPUT
from .io_types import SESSION_LIST, CacheSocket, CameraSocket

KEEP, PIN, UNPIN, FORGET, BRANCH = "none", "pin", "unpin", "forget", "branch"


class MemoryCacheNode(io.ComfyNode):
    """Starts, loads and edits a cache."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemoryCache",
            display_name="Memory Cache",
            **in_menu("MemoryCache"),
            description="Holds all finished turns of a session. With a session name every turn is "
            "saved to disk (output/memory_v2v/NAME) as soon as it is finished, and you can "
            "continue tomorrow. Without a name the cache lives in the graph only.",
            inputs=[
                io.String.Input(
                    "session",
                    default="",
                    extra_dict=SESSION_LIST,
                    tooltip="Name of a session on disk; all its turns are loaded. Empty: a new "
                    "cache in the graph. If a cache is connected, that cache and every turn "
                    "appended to it are saved under this name.",
                ),
                CacheSocket.Input(
                    "cache",
                    optional=True,
                    tooltip="A cache to edit or to save, instead of a new or loaded one.",
                ),
                io.Combo.Input(
                    "action",
                    options=[KEEP, PIN, UNPIN, FORGET, BRANCH],
                    default=KEEP,
                    tooltip="pin: always retrieve this turn. forget: delete it, on disk too. "
                    "branch: continue from this turn without the later turns; the branch lives in "
                    "the graph until a second Memory Cache gives it a session.",
                ),
                io.String.Input(
                    "entry",
                    default="",
                    tooltip="Id of the turn for the action. This node lists the ids; the first "
                    "characters are enough.",
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="A finished video to append, such as KSampler's result.",
                ),
                CameraSocket.Input(
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
                    tooltip="The source that the latent was made from; it is stored too.",
                ),
                TAKE_INPUT,
                io.Float.Input(
                    "expire_days",
                    default=0.0,
                    min=0.0,
                    max=36_500.0,
                    optional=True,
                    advanced=True,
                    tooltip="Delete turns that are older than so many days, on disk too and for "
                    "good, whenever this node opens the session by its name. Pinned turns stay. 0 "
                    "keeps every turn.",
                ),
            ],
            outputs=[
                CacheSocket.Output(
                    display_name="cache", tooltip="For VideoFOV Retrieve and for the sampler."
                ),
                io.String.Output(
                    display_name="contents",
                    tooltip="One line per turn, and what could not be loaded.",
                ),
            ],
            hidden=[io.Hidden.extra_pnginfo, io.Hidden.prompt, io.Hidden.unique_id],
            **shows_result(),
        )

    @classmethod
    def validate_inputs(cls, session: str | None) -> bool | str:
        return refused_name(session) or True

    @classmethod
    def fingerprint_inputs(
        cls, session: str | None = "", expire_days: float | None = 0.0, **kwargs: object
    ) -> str:
        # Every day may be the last one of a turn.
        today = str(int(time.time() // DAY_S)) if expire_days else ""
        # A connected cache (None here) replaces the session on disk, so the disk does not matter.
        return today + ("" if not session or "cache" in kwargs else session_state(session))

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
        take: str = REPLACE,
        expire_days: float = 0.0,
    ) -> io.NodeOutput:
        is_connected = cache is not None
        opened, notes = open_cache(session, cls.hidden, cache)
        # Only what was just read from the disk, with the pins that stand there.
        if expire_days and session and not is_connected:
            opened, expired = without_expired(opened, expire_days)
            notes = (*notes, *expired)
        cache = renamed(opened, session)
        if is_connected:
            cache = superseding(cache, opened.session)
        if latent is not None:
            maker = maker_of(cls.hidden, take)
            made = imported_entry(cache, latent, camera, model, source)
            cache = cache.replacing(in_place_of(cache, maker, made))
        cache, remarks = edit_cache(cache, action, entry.strip())
        # Only a change is saved.
        if cache is not opened:
            # A video took minutes, so a failed save is a note; a failed pin or forget is an error.
            written = saved(cache) if latent is None else saved_or_kept(cache)
            cache, remarks = written.cache, (*remarks, *written.notices)
        # What nodes after this one made is seen by nothing before it is kept or made again.
        if not is_connected:
            cache = cache.setting_aside(makers_after(cls.hidden))
        contents = cache.describe((*notes, *remarks))
        return io.NodeOutput(cache, contents, ui=ui.PreviewText(contents))


class RecallTurn(io.ComfyNode):
    """A remembered turn, as the sampler made it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VRecallTurn",
            display_name="Recall Turn",
            **in_menu("MemV2VRecallTurn"),
            description="Reads a finished turn from the cache: the latent as the sampler made it. "
            "Use it to decode or refine an earlier turn, or after a failed decode. Nothing is "
            "sampled again.",
            inputs=[
                CacheSocket.Input(
                    "cache",
                    tooltip="From Memory Cache, with the session's name, or from a sampler.",
                ),
                io.Int.Input(
                    "turn",
                    default=0,
                    min=0,
                    max=100_000,
                    tooltip="Which turn, from 1; 0 for the newest.",
                ),
                io.String.Input(
                    "entry",
                    default="",
                    tooltip="Id of the turn as Memory Cache lists it, instead of its number; the "
                    "first characters are enough.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="For VAE Decode, with the VAE of the turn's model.",
                ),
                CameraSocket.Output(display_name="camera", tooltip="The turn's camera path."),
                io.String.Output(
                    display_name="info", tooltip="Which turn it is and how it was made."
                ),
            ],
            **shows_result(),
        )

    @classmethod
    def execute(cls, cache: MemoryCache, turn: int, entry: str) -> io.NodeOutput:
        recalled = cache.recall(turn, entry.strip())
        info = recalled.describe()
        return io.NodeOutput(
            finished_latent(recalled.latent),
            recalled.camera,
            info,
            ui=ui.PreviewText(info),
        )


def edit_cache(cache: MemoryCache, action: str, entry: str) -> tuple[MemoryCache, tuple[str, ...]]:
    """`cache` after the action, and remarks about it.

    Raises: ValueError when the action needs a turn and none or several match.
    """
    if action == KEEP:
        return cache, ()
    if not entry:
        raise ValueError(
            f"entry is empty, wanted the id of the turn to {action}; this node lists the ids"
        )
    if action == BRANCH:
        return cache.branch(entry), (
            f"branched after {entry}: lives in the graph, the old session stays as it is",
        )
    # A graph whose action stays where it is must run again without an error.
    if was_forgotten(cache, entry):
        return cache, (f"{entry} was forgotten earlier",)
    if action == FORGET:
        return cache.forget(entry), ()
    return cache.pin(entry, action == PIN), ()


NODES = [MemoryCacheNode, RecallTurn]
