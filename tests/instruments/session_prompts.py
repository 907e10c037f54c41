"""Prompts of sessions with several turns, and what they left on disk."""

from dataclasses import dataclass

from instruments.prompts import prompt_node
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session

QUICK = {"steps": 2}
MOTIONS = ("pan_right", "pan_left", "tilt_up", "pan_right")

Prompt = dict[str, dict]


@dataclass(frozen=True)
class Graph:
    """Builds prompts for the HTTP API, which fills no defaults."""

    object_info: dict

    def node(self, kind: str, **inputs) -> dict:
        return prompt_node(self.object_info, kind, **inputs)

    def base(self, session: str) -> Prompt:
        """Model, a source of 3 frames of 64 x 64, and the session."""
        return {
            "load": self.node("LoadMemoryV2VModel", model_name="built-in: novel_view"),
            "scene": self.node("MemV2VDemoScene", num_frames=3, size=64),
            "source": self.node("VAEEncode", pixels=["scene", 0], vae=["load", 2]),
            "session": self.node("MemoryCache", session=session),
        }

    def turn(self, prompt: Prompt, turn: int, cache: tuple[str, int], seed: int) -> Prompt:
        """The prompt with one more turn, its nodes named by number: path1, retrieve1, plan1,
        turn1."""
        nodes = {
            "path": self.node(
                "MemV2VCameraTrajectory",
                motion=MOTIONS[turn - 1],
                amplitude=20.0 + turn,
                num_frames=3,
            ),
            "retrieve": self.node("VideoFOVRetrieve", cache=list(cache), camera=[f"path{turn}", 0]),
            "plan": self.node(
                "DynamicTokenize", retrieval=[f"retrieve{turn}", 0], top_kernel="4", rest_kernel="8"
            ),
            "turn": self.node(
                "MemoryV2VSampler",
                model=["load", 0],
                source=["source", 0],
                source_camera=["scene", 1],
                target_camera=[f"path{turn}", 0],
                plan=[f"plan{turn}", 0],
                cache=list(cache),
                seed=seed,
                sampler_name="euler",
                scheduler="simple",
                **QUICK,
            ),
            "keep": self.node(
                "SaveLatent", samples=[f"turn{turn}", 0], filename_prefix=f"latents/{turn}"
            ),
        }
        return {**prompt, **{f"{name}{turn}": node for name, node in nodes.items()}}

    def managed(self, session: str, **changes) -> Prompt:
        """Loads a session, does something to it, and shows it."""
        cache = self.node("MemoryCache", **{"session": session, **changes})
        return {"session": cache, "show": self.node("PreviewAny", source=["session", 1])}


def saved(server, name: str) -> MemoryCache:
    loaded = load_session(server.base_dir / "output" / "memory_v2v" / name)
    assert not loaded.skipped
    assert not loaded.notices
    return loaded.cache
