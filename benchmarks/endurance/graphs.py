"""Prompts for a real server: turns of the built-in model on the smallest clip."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Prompt = dict[str, dict[str, Any]]
MOTIONS = ("pan_right", "pan_left", "tilt_up", "tilt_down")
SERVER_ARGUMENTS = ("--disable-api-nodes", "--cache-classic")


class Graph:
    """Builds prompts; the HTTP API fills in no defaults, so they come from the nodes' schemas.

    num_frames, size: of the clip.
    """

    def __init__(self, object_info: Mapping[str, Any], num_frames: int = 3, size: int = 64) -> None:
        self._info, self._num_frames, self._size = object_info, num_frames, size

    def node(self, kind: str, **inputs: Any) -> dict[str, Any]:
        """A node with the defaults of its schema, and `inputs` over them."""
        required = self._info[kind]["input"].get("required", {})
        defaults = {
            name: spec[1]["default"]
            for name, spec in required.items()
            if "default" in (spec[1:] or [{}])[0]
        }
        return {"class_type": kind, "inputs": {**defaults, **inputs}}

    def base(self, session: str) -> Prompt:
        """Model, source and session."""
        return {
            "load": self.node("LoadMemoryV2VModel", model_name="built-in: novel_view"),
            "scene": self.node("MemV2VDemoScene", num_frames=self._num_frames, size=self._size),
            "source": self.node("VAEEncode", pixels=["scene", 0], vae=["load", 2]),
            "session": self.node("MemoryCache", session=session),
        }

    def turn(
        self,
        prompt: Prompt,
        turn: int,
        cache: tuple[str, int],
        seed: int,
        steps: int = 2,
        k: int = 2,
    ) -> Prompt:
        """The prompt with one more turn, its nodes named by number."""
        nodes = {
            "path": self.node(
                "MemV2VCameraTrajectory",
                motion=MOTIONS[turn % len(MOTIONS)],
                amplitude=15.0 + turn % 20,
                num_frames=self._num_frames,
            ),
            "retrieve": self.node(
                "VideoFOVRetrieve", cache=list(cache), camera=[f"path{turn}", 0], k=k
            ),
            "plan": self.node("DynamicTokenize", retrieval=[f"retrieve{turn}", 0]),
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
                steps=steps,
            ),
            "keep": self.node(
                "SaveLatent", samples=[f"turn{turn}", 0], filename_prefix="latents/kept"
            ),
        }
        return {**prompt, **{f"{name}{turn}": node for name, node in nodes.items()}}

    def shown(self, session: str) -> Prompt:
        """Loads a session and shows its turns."""
        cache = self.node("MemoryCache", session=session)
        return {"session": cache, "show": self.node("PreviewAny", source=["session", 1])}


def session_folder_of(base_dir: Path, session: str) -> Path:
    """Where a server keeps a session."""
    return base_dir / "output" / "memory_v2v" / session


def was_answered_from_cache(entry: Mapping[str, Any], node: str) -> bool:
    """Whether the server did not run this node of a finished prompt."""
    return any(
        event == "execution_cached" and node in data["nodes"]
        for event, data in entry["status"]["messages"]
    )
