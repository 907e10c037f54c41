"""Videos of methods that a running ComfyUI makes, of clips in a folder.

So any model is scored that ComfyUI can run: published weights, and other packs' nodes.
"""

import hashlib
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically
from ..suites.methods import MethodConfig, WorkflowConfig
from ..suites.suite import FILE_WORDS, Suite
from .comfy_client import ComfyClient, SavedVideo
from .recipes import hash_of, seconds_file, source_clips, write_seconds

_PER_TURN = ("{camera}", "{turn}")
_SEED = "{seed}"
_SOURCE = "source"
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
        """Read every workflow, ask every server, and take away what other clips were made of."""
        if missing := [clip for clip in self.made.clips if clip not in self.clips]:
            raise ValueError(
                f"clips got {missing[0]!r}, which sources do not have, wanted one of "
                f"{sorted(self.clips)}; correct the suite"
            )
        for method in self.suite.methods:
            config = _config(method)
            template = json.dumps(_workflow(self.suite, config))
            if "{camera" in template and self.suite.cameras is None:
                raise ValueError(
                    f"{config.file} asks for cameras, and the suite has none; add cameras"
                )
            paths = () if self.suite.cameras is None else self.suite.cameras.turns
            if "{camera" in template and any(map(FILE_WORDS.fullmatch, paths)):
                raise ValueError(
                    f"{config.file} asks for cameras in words, and the suite has them in files; "
                    "let the workflow import the files, and take {camera} and {cameras} out of it"
                )
            for clip in self.made.clips:
                self._text_beside(clip, template)
            self.client(config.server).check()
        for method in self.made.methods:
            for clip in self.made.clips:
                for seed in self.made.seeds:
                    self._remove_of_other_source([*self.made.files(method, clip, seed)], clip)

    def make(self, method: MethodConfig, clip: str, seed: int, files: list[Path]) -> None:
        config = _config(method)
        client = self.client(config.server)
        uploaded = client.upload(self.clips[clip])
        # The folder is named by all that decides the videos, and so is the session.
        place = f"{files[0].parent.name} {clip} {seed}"
        session = f"score_{hashlib.sha256(place.encode()).hexdigest()[:_NAME_DIGITS]}"
        template = _workflow(self.suite, config)
        known = {"{clip}": uploaded, "{session}": session}
        known["{instruction}"] = self._text_beside(clip, json.dumps(template))
        paths = () if self.suite.cameras is None else self.suite.cameras.turns
        known["{cameras}"] = "\n".join(paths)
        is_per_turn = any(word in json.dumps(template) for word in _PER_TURN)
        videos: list[SavedVideo] = []
        start = time.perf_counter()
        for idx, turn in enumerate(self.suite.turns if is_per_turn else (0,)):
            words = known | {"{turn}": str(turn), "{camera}": paths[idx] if paths else ""}
            found = client.run(_filled(template, words, seed), config.timeout_s)
            found = [video for video in found if config.node in ("", video.node)]
            wanted = 1 if is_per_turn else len(self.suite.turns)
            if len(found) != wanted:
                raise ValueError(
                    f"{config.file} saved {len(found)} videos of {clip!r}, wanted {wanted}; let it "
                    "save one video a turn, or name the node that saves them with node"
                )
            videos += found
        seconds = (time.perf_counter() - start) / len(videos)
        for video, path in zip(videos, files, strict=False):
            write_atomically(path, client.fetch(video))
        source = hash_of(self.clips[clip]).hex()
        write_seconds(files[0], self.suite, method, [seconds] * len(videos), source=source)

    def _text_beside(self, clip: str, template: str) -> str:
        """The instruction of a clip, where a workflow asks for it."""
        if "{instruction}" not in template:
            return ""
        path = self.clips[clip].with_suffix(".txt")
        if not path.is_file():
            raise ValueError(
                f"{path} is not there, wanted the instruction of {clip!r}; write it into that file"
            )
        return path.read_text(encoding="utf-8").strip()

    def _remove_of_other_source(self, files: list[Path], clip: str) -> None:
        """A clip that changed under its old name is edited again."""
        held = seconds_file(files[0])
        if not held.is_file():
            return
        source = json.loads(held.read_text(encoding="utf-8")).get(_SOURCE)
        if source != hash_of(self.clips[clip]).hex():
            for path in (held, *files[: len(self.made.turns)]):
                path.unlink(missing_ok=True)


def _config(method: MethodConfig) -> WorkflowConfig:
    assert method.workflow is not None, "a suite with sources has workflows"
    return method.workflow


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
