"""Videos of methods that a running ComfyUI makes, of clips in a folder.

So any model is scored that ComfyUI can run: published weights, and other packs' nodes.
"""

import json
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ...atomic_files import write_atomically
from ...weights.reading.boundary import reading
from ...weights.reading.json_text import read_object
from ..suites.methods import MethodConfig, WorkflowConfig
from ..suites.suite import FILE_WORDS, Suite
from .comfy_client import ComfyClient, SavedVideo
from .recipes import hash_of, seconds_file, source_clips, write_seconds

_PER_TURN = ("{camera}", "{turn}", "{previous}")
_SEED = "{seed}"
_NAME_DIGITS = 10


class WorkflowMaker:
    """Runs the workflow of a method for each clip.

    suite: as it is written. made: the same as a suite of folders.
    """

    def __init__(self, suite: Suite, made: Suite) -> None:
        self.suite, self.made = suite, made
        self.client = cache(ComfyClient)
        self.clips = {path.stem: path for path in source_clips(suite)}

    def check(self) -> None:
        """Read every workflow, ask every server, and take away what was made of other clips.

        Raises: ValueError for everything that would stop a run later.
        """
        if missing := [clip for clip in self.made.clips if clip not in self.clips]:
            raise ValueError(
                f"clips got {missing[0]!r}, which sources do not have, wanted one of "
                f"{sorted(self.clips)}; correct the suite"
            )
        self._require_truths()
        for method in self.suite.methods:
            if method.workflow is not None:
                template = _workflow(self.suite, method.workflow)
                _require_names(self.suite, method.workflow, template)
                for clip in self.made.clips:
                    self._text_beside(clip, template)
                self.client(method.workflow.server).check()
        for method, made in zip(self.suite.methods, self.made.methods, strict=True):
            if method.workflow is not None:
                template = _workflow(self.suite, method.workflow)
                for clip in self.made.clips:
                    for seed in self.made.seeds:
                        files = [*self.made.files(made, clip, seed)]
                        self._remove_of_other_source(files, clip, template)

    def make(self, method: MethodConfig, clip: str, seed: int, files: list[Path]) -> None:
        config = method.workflow
        assert config is not None, "only methods with a workflow are made by it"
        client, template = self.client(config.server), _workflow(self.suite, config)
        source = self.clips[clip].read_bytes()
        uploaded = client.upload(self.clips[clip].name, source)
        # No attempt sees what an earlier one left in its session.
        known = {
            "{clip}": uploaded,
            "{previous}": uploaded,
            "{session}": f"score_{uuid.uuid4().hex[:_NAME_DIGITS]}",
            "{instruction}": self._text_beside(clip, template),
        }
        paths = () if self.suite.cameras is None else self.suite.cameras.turns
        known["{cameras}"] = "\n".join(paths)
        is_per_turn = any(word in json.dumps(template) for word in _PER_TURN)
        videos: list[bytes] = []
        seconds = 0.0
        for idx, turn in enumerate(self.suite.turns if is_per_turn else (0,)):
            words = known | {"{turn}": str(turn), "{camera}": paths[idx] if paths else ""}
            run = client.run(_filled(template, words, seed), config.timeout_s)
            wanted = 1 if is_per_turn else len(self.suite.turns)
            videos += map(client.fetch, _in_order(run.videos, config, clip, wanted))
            seconds += run.seconds
            if "{previous}" in json.dumps(template):
                known["{previous}"] = client.upload(files[idx].name, videos[-1])
        for data, path in zip(videos, files, strict=True):
            write_atomically(path, data)
        facts = self._facts(clip, template)
        times = [seconds / len(videos)] * len(videos)
        write_seconds(files[0], self.suite, method, times, torch.device("cpu"), **facts)

    def _facts(self, clip: str, template: dict[str, Any]) -> dict[str, str]:
        """What a video was made of."""
        text = self._text_beside(clip, template)
        return {"source": hash_of(self.clips[clip]).hex(), "instruction": text}

    def _text_beside(self, clip: str, template: dict[str, Any]) -> str:
        """The instruction of a clip, where a workflow asks for it."""
        if "{instruction}" not in json.dumps(template):
            return ""
        path = self.clips[clip].with_suffix(".txt")
        if not path.is_file():
            raise ValueError(
                f"{path} is not there, wanted the instruction of {clip!r}; write it into that file"
            )
        return path.read_text(encoding="utf-8").strip()

    def _require_truths(self) -> None:
        wanted = (
            self.made.truth(clip, turn, seed)
            for clip in self.made.clips
            for turn in self.made.turns
            for seed in self.made.seeds
        )
        missing = [path for path in wanted if path is not None and not path.is_file()]
        if missing:
            raise ValueError(
                f"{len(missing)} true videos are missing, such as {missing[0]}; put them there, or "
                "leave truths out"
            )

    def _remove_of_other_source(
        self, files: list[Path], clip: str, template: dict[str, Any]
    ) -> None:
        """A clip or an instruction that changed under its old name is edited again."""
        path = seconds_file(files[0])
        if not path.is_file():
            return
        with reading(path, "what a video was made of", "delete it"):
            held = read_object(path, "facts")
        if self._facts(clip, template).items() <= held.items():
            return
        # Only what this maker wrote lies in a folder with a recipe's hash.
        for old in (path, *files[: len(self.made.turns)]):
            old.unlink(missing_ok=True)


def _in_order(
    videos: Sequence[SavedVideo], config: WorkflowConfig, clip: str, wanted: int
) -> list[SavedVideo]:
    """The videos of a run, one a turn.

    Several nodes finish in any order, so only the suite knows which one saves which turn.
    """
    nodes = config.nodes or tuple(dict.fromkeys(video.node for video in videos))
    if len(nodes) > 1 and not config.nodes:
        raise ValueError(
            f"{config.file} saved videos of {clip!r} by the nodes {', '.join(nodes)}, wanted one "
            "node; name those that count in nodes, in the order of the turns"
        )
    found = [video for node in nodes for video in videos if video.node == node]
    if len(found) != wanted:
        raise ValueError(
            f"{config.file} saved {len(found)} videos of {clip!r}, wanted {wanted}; let it save "
            "one video a turn, or name the nodes that save them in nodes"
        )
    return found


def _require_names(suite: Suite, config: WorkflowConfig, template: dict[str, Any]) -> None:
    """Raise ValueError for a workflow that would make the same of different clips."""
    text = json.dumps(template)
    # The turn before is the clip in the first turn.
    needed = [("{clip}", "{previous}")] + ([("{seed}",)] if len(suite.seeds) > 1 else [])
    for word, *others in needed:
        if not any(each in text for each in (word, *others)):
            raise ValueError(
                f"{config.file} has no {word}, wanted it in an input, such as that of Load Video; "
                "every clip and seed would get the same videos"
            )
    sessions = [
        node["inputs"].get("session") for node in template.values() if "session" in node["inputs"]
    ]
    if any(isinstance(name, str) and name and "{session}" not in name for name in sessions):
        raise ValueError(
            f"{config.file} names a session of its own, wanted {{session}} there: clips and "
            "methods would remember each other"
        )
    paths = () if suite.cameras is None else suite.cameras.turns
    if "{camera" not in text:
        return
    if not paths:
        raise ValueError(f"{config.file} asks for cameras, and the suite has none; add cameras")
    if any(map(FILE_WORDS.fullmatch, paths)):
        raise ValueError(
            f"{config.file} asks for cameras in words, and the suite has them in files; let the "
            "workflow import the files, and take {camera} and {cameras} out of it"
        )


def _workflow(suite: Suite, config: WorkflowConfig) -> dict[str, Any]:
    """The nodes of a workflow by number, with the method's own inputs.

    Raises: ValueError for a file that is no workflow in API format, and for inputs that it lacks.
    """
    path = suite.root / config.file
    try:
        nodes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); export the workflow again") from error
    if not isinstance(nodes, dict) or not all(
        isinstance(node, dict) and isinstance(node.get("inputs"), dict) for node in nodes.values()
    ):
        raise ValueError(f"{path} is no workflow in API format; use Export (API) in ComfyUI's menu")
    for change in config.set:
        place, is_change, text = change.partition("=")
        number, _, name = place.strip().partition(".")
        try:
            value = json.loads(text)
        except ValueError:
            is_change = ""
        if not is_change or name not in nodes.get(number, {"inputs": {}})["inputs"]:
            raise ValueError(
                f"set got {change!r}, wanted NODE.INPUT = VALUE with an input that {path.name} "
                'has and a value in JSON, such as 4.k = 0 or 1.model_name = "X"; correct it'
            )
        nodes[number]["inputs"][name] = value
    return nodes


def _filled(nodes: dict[str, Any], words: dict[str, str], seed: int) -> dict[str, Any]:
    """The workflow with words in place of their names."""

    def value(given: Any) -> Any:
        if given == _SEED:
            return seed
        if not isinstance(given, str):
            return given
        for name, word in words.items():
            given = given.replace(name, word)
        return given

    return {
        number: {**node, "inputs": {name: value(held) for name, held in node["inputs"].items()}}
        for number, node in nodes.items()
    }
