"""Prompts with foreign values, posted to a real server that runs the pack."""

import random
import time
from pathlib import Path
from typing import Any

from devtools.api import HttpError
from devtools.environment import find_environment
from devtools.server import ComfyServer, pack_nodes, running_server
from memv2v_core.cameras.formats.transforms import save_transforms

from ..endurance.graphs import Graph, Prompt
from .mutations.places import SECRET
from .outcomes import MAX_CHARACTERS
from .pool import CASE_S, Result
from .targets.cameras import PAN
from .watch import resident_bytes_of

NAME = "prompts"
RUN_S, STOP_S, POLL_S = 15.0, 20.0, 0.05
# Unchanged nodes are answered from the server's cache, so that a case takes a moment.
ARGUMENTS = ("--disable-api-nodes", "--cache-lru", "300")
MEMORY_LIMIT = 1 << 30
CAMERA_FILE = "path.json"
# Built for readers of messages, not for programmers.
_CLEAR = ("ValueError", "FileNotFoundError", "PermissionError", "TimeoutError")
_TEXTS = (
    *("../../x", "/etc/passwd", "..\\..\\x", "con", "a/b", ".", "", " ", "x" * 100_000, "\0"),
    *("one\ntwo", "%s{0}", "\U0001f600", "nan", "null", "../" * 40 + "tmp/memory_v2v_outside"),
)
_OTHERS: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, -(2**63), 10**400, 0.5, float("nan"), float("inf"), 1e308),
    *([], {}, [1], [[]], {"a": 1}, ["load"], ["nobody", 0], ["load", -1], ["load", 10**9]),
    *(["load", "0"], ["load", None], [None, 0], {"__value__": [1, 2]}, {"__value__": None}),
)


def attack(count: int, seed: int, first: int = 0) -> list[Result]:
    """The results of `count` prompts with one foreign value each."""
    environment = find_environment()
    assert environment is not None, "the caller skips this target without a ComfyUI"
    results: list[Result] = []
    while len(results) < count:
        # A server that died is started again, and the next prompt follows.
        with running_server(environment, extra_args=ARGUMENTS) as server:
            graph = _graph(server)
            _warm_up(server, graph)
            while len(results) < count and server.process.poll() is None:
                results.append(_one(server, graph, seed, first + len(results)))
    return results


def _graph(server: ComfyServer) -> Prompt:
    """Every kind of node of the pack that runs in a moment, correctly connected."""
    save_transforms(PAN, server.base_dir / "input" / CAMERA_FILE, height=100, width=200)
    graph = Graph(server.api.object_info())
    node, prompt = graph.node, graph.turn(graph.base(""), 1, ("session", 0), seed=1)
    clip = {"frames": ["scene", 0], "width": 64, "height": 64, "num_frames": 3}
    return {
        **prompt,
        "recall": node("MemV2VRecallTurn", cache=["turn1", 1], turn=1),
        "import": node("MemV2VImportCameraTrajectory", file=CAMERA_FILE),
        "export": node("MemV2VExportCameraTrajectory", camera=["path1", 0]),
        "look": node("MemV2VPreviewCameraTrajectory", camera=["path1", 0]),
        "recent": node("MemV2VRecentRetrieve", cache=["turn1", 1]),
        "fit": node("MemV2VFitVideo", **clip),
        "restore": node("MemV2VRestoreVideo", frames=["fit", 0], fitting=["fit", 3]),
        "keep": node("MemoryCache", session="attacked", cache=["turn1", 1]),
        "apply": node(
            "MemV2VApplyMemory",
            model=["load", 0],
            source=["source", 0],
            source_camera=["scene", 1],
            target_camera=["path1", 0],
            plan=["plan1", 0],
        ),
    }


def _warm_up(server: ComfyServer, graph: Prompt) -> None:
    """Run every node once unchanged, which also proves that the graph is sound."""
    for target in graph:
        server.api.run(_part(graph, target, 0))


def _part(graph: Prompt, target: str, number: int) -> Prompt:
    """The node, what it needs, and a node that shows its result."""
    wanted, waiting = {}, [target]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted[name] = graph[name]
            links = (value for value in graph[name]["inputs"].values() if _is_link(value))
            waiting += [link[0] for link in links]
    shown = {"class_type": "PreviewAny", "inputs": {"source": [target, 0]}}
    named = {name: {**node, "inputs": dict(node["inputs"])} for name, node in wanted.items()}
    return {**named, f"show{number}": shown}


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _one(server: ComfyServer, graph: Prompt, seed: int, index: int) -> Result:
    rng = random.Random(f"{seed}/{NAME}/{index}")
    ours = set(pack_nodes(server.api.object_info()))
    names = [name for name, node in graph.items() if node["class_type"] in ours]
    # In turn, so that every node is attacked equally often.
    target = names[index % len(names)]
    prompt = _part(graph, target, index)
    what = _change(prompt, target, rng)
    before_files, before = _files(server), resident_bytes_of(server.process.pid)
    began_s = time.monotonic()
    outcome, detail = _answer(server, prompt, target, ours)
    if server.process.poll() is not None:
        outcome, detail = "crash", server.log_tail()[-1000:]
    elif strays := _files(server) - before_files:
        outcome, detail = "code", f"files outside the output folder: {sorted(strays)}"
    extra = resident_bytes_of(server.process.pid) - before
    if extra > MEMORY_LIMIT:
        outcome = "memory"
    return Result(NAME, index, outcome, what, detail, time.monotonic() - began_s, extra >> 20)


def _change(prompt: Prompt, target: str, rng: random.Random) -> str:
    """Put one foreign value into an input of the node; says which."""
    node = prompt[target]
    inputs = node["inputs"]
    kind = rng.choice(("value", "value", "value", "value", "text", "text", "gone", "new", "link"))
    name = rng.choice(sorted(inputs)) if inputs else "session"
    if kind == "gone":
        inputs.pop(name, None)
    elif kind == "new":
        inputs[f"{name}_x"] = SECRET
    elif kind == "link":
        # A real output of the wrong type, or of the node itself.
        inputs[name] = [rng.choice(sorted(prompt)), rng.choice((0, 1, 7))]
    else:
        inputs[name] = rng.choice(_TEXTS if kind == "text" else _OTHERS)
    return f"{node['class_type']}.{name} {kind}: {str(inputs.get(name))[:80]!r}"


def _answer(server: ComfyServer, prompt: Prompt, target: str, ours: set[str]) -> tuple[str, str]:
    """The class of the server's answer, and why."""
    began_s = time.monotonic()
    try:
        answer = server.api.post("/prompt", {"prompt": prompt}, timeout_s=CASE_S)
    except HttpError as error:
        text = error.body.decode(errors="replace")
        return ("refused" if error.status == 400 else "raw"), f"{error.status}: {text[:1000]}"
    except OSError as error:
        return "hang", f"no answer to the prompt after {time.monotonic() - began_s:.0f} s: {error}"
    entry = _wait(server, answer["prompt_id"], RUN_S)
    if entry is None:
        # Legal numbers may mean much work; then only a stop must be possible.
        server.api.cancel(answer["prompt_id"])
        stopped = _wait(server, answer["prompt_id"], STOP_S)
        return ("changed", "long work, stopped") if stopped else ("hang", "cannot be stopped")
    return _class_of_entry(entry, ours, bool(answer.get("node_errors")), target)


def _class_of_entry(
    entry: dict[str, Any], ours: set[str], has_errors: bool, target: str
) -> tuple[str, str]:
    errors = [data for event, data in entry["status"]["messages"] if event == "execution_error"]
    if not errors:
        return ("refused", "left out") if has_errors else ("changed", f"{target} ran")
    error = errors[0]
    kind, text = error["exception_type"].rpartition(".")[2], error["exception_message"].strip()
    detail = f"{error['node_type']} raised {kind}: {text}"
    if SECRET in text:
        return "leak", detail
    if error["node_type"] not in ours:
        return "changed", f"ComfyUI's node refused it: {detail}"
    if kind not in _CLEAR or "\n" in text or len(text) > MAX_CHARACTERS:
        return "raw", detail
    return ("refused" if "; " in text else "bare"), detail


def _wait(server: ComfyServer, prompt_id: str, limit_s: float) -> dict[str, Any] | None:
    """The history entry of a prompt, or None where it does not end in time."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and server.process.poll() is None:
        entry = server.api.get(f"/history/{prompt_id}").get(prompt_id)
        if entry is not None:
            return entry
        time.sleep(POLL_S)
    return None


def _files(server: ComfyServer) -> set[str]:
    """What lies beside the server's folder and in it, without its outputs."""
    base = server.base_dir
    skipped = {"output", "temp", "user", "comfyui.log"}
    beside = {str(path) for path in base.parent.glob("memory_v2v_outside*")}
    inside = {str(path) for path in base.iterdir() if path.name not in skipped}
    return beside | inside | {str(path) for path in Path(base / "input").iterdir()}
