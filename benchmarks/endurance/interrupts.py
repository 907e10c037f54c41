"""Interrupts and memory that runs out in the middle of a turn on a real server."""

import argparse
import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devtools.api import OutputFile, Progress, PromptFailed, PromptInterrupted, output_files
from devtools.environment import find_environment
from devtools.server import ComfyServer, running_server
from memv2v_core.cache.storage import load_session

from .graphs import SERVER_ARGUMENTS, Graph, Prompt, session_folder_of, was_answered_from_cache
from .tables import report

STEPS, SESSION = 8, "disturbed"
# A custom node of the test: it makes one call of a deep layer fail, once.
PROBE = """
import torch
from comfy_api.latest import ComfyExtension, io


class FailInForward(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="FailInForward",
            category="test",
            inputs=[io.Model.Input("model"), io.Int.Input("call", default=1, max=100000)],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model, call):
        layer = model.model.diffusion_model.blocks[-1].ffn[0]
        left = [call]

        def fail(_module, _inputs):
            left[0] -= 1
            if left[0] == 0:
                handle.remove()
                raise torch.OutOfMemoryError("planted: out of memory in the forward")

        handle = layer.register_forward_pre_hook(fail)
        return io.NodeOutput(model)


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [FailInForward]


async def comfy_entrypoint():
    return Extension()
"""


@dataclass
class Row:
    """Counts of one kind of disturbance."""

    disturbed: int = 0
    same: int = 0
    missed: int = 0
    failures: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)


def main(options: argparse.Namespace) -> int:
    environment = find_environment()
    if environment is None:
        print("skipped: interrupts need a ComfyUI; set COMFYUI_PATH")
        return 0
    rows = {"interrupt": Row(), "out of memory": Row()}
    with _server_with_probe() as server:
        graph = Graph(server.api.object_info())
        seeds = range(500, 500 + options.count)
        wanted = {seed: _result(server, graph, seed) for seed in seeds}
        for kind, row in rows.items():
            rng = random.Random(f"{options.seed}/{kind}")
            for seed in seeds:
                place = f"{kind} {row.disturbed + 1}"
                found = _disturb(server, graph, kind, rng, row)
                found += _compare(server, graph, seed, wanted[seed], row)
                row.failures += [f"{place}: {text}" for text in found]
    head = ["disturbed by", "times", "equal results after", "not hit", "failures"]
    table = [[kind, r.disturbed, r.same, r.missed, len(r.failures)] for kind, r in rows.items()]
    failures = [text for row in rows.values() for text in row.failures]
    return report("Disturbed turns on a real server", head, table, failures)


@contextmanager
def _server_with_probe() -> Iterator[ComfyServer]:
    with tempfile.TemporaryDirectory(prefix="memory-v2v-disturbed-") as folder:
        probe = Path(folder) / "custom_nodes" / "fail_in_forward"
        probe.mkdir(parents=True)
        (probe / "__init__.py").write_text(PROBE)
        environment = find_environment()
        assert environment is not None
        with running_server(
            environment, base_dir=Path(folder), extra_args=SERVER_ARGUMENTS
        ) as server:
            yield server


def _two_turns(graph: Graph, session: str, seed: int) -> Prompt:
    """A turn that stays the same, and one that sees it in memory."""
    prompt = graph.turn(graph.base(session), 1, ("session", 0), seed=7)
    return graph.turn(prompt, 2, ("turn1", 1), seed=seed, steps=STEPS)


def _result(server: ComfyServer, graph: Graph, seed: int) -> bytes | None:
    """The latent of the second turn as a file's bytes; None where it was not computed anew."""
    entry = server.api.run(_two_turns(graph, "", seed))
    if was_answered_from_cache(entry, "turn2"):
        return None
    kept = [file for file in output_files(entry) if file.node_id == "keep2"]
    return _tensors(server, kept[0])


def _tensors(server: ComfyServer, file: OutputFile) -> bytes:
    """The file without its header, which holds the prompt."""
    data = (server.base_dir / "output" / file.subfolder / file.filename).read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def _disturb(
    server: ComfyServer, graph: Graph, kind: str, rng: random.Random, row: Row
) -> list[str]:
    """Run a turn of a session and stop it in the middle; problems of the session after it."""
    before = _entries(server)
    row.disturbed += 1
    prompt = _two_turns(graph, SESSION, rng.randrange(10**6, 10**9))
    # Models are shared between graphs, so the failing turn uses the same one.
    if kind == "interrupt":
        hit, finished = _interrupt(server, prompt, rng.randrange(1, STEPS))
    else:
        prompt["fail"] = graph.node(
            "FailInForward", model=["load", 0], call=rng.randrange(1, STEPS)
        )
        prompt["turn2"]["inputs"]["model"] = ["fail", 0]
        hit, finished = _fail(server, prompt)
    row.missed += not hit
    after = _entries(server)
    found = [f"turn {entry_id[:8]} is lost" for entry_id in before if entry_id not in after]
    found += [
        f"turn {entry_id} was reported but is not there"
        for entry_id in finished
        if not any(held.startswith(entry_id) for held in after)
    ]
    return found if hit else [*found, "the turn ended before it was disturbed"]


def _interrupt(server: ComfyServer, prompt: Prompt, step: int) -> tuple[bool, list[str]]:
    def stop(progress: Progress) -> None:
        if progress.node_id == "turn2" and progress.step >= step:
            server.api.interrupt()

    try:
        entry = server.api.run(prompt, on_progress=stop)
    except PromptInterrupted:
        return True, []
    return False, _ids(entry)


def _fail(server: ComfyServer, prompt: Prompt) -> tuple[bool, list[str]]:
    try:
        entry = server.api.run(prompt)
    except PromptFailed as error:
        return "planted" in str(error) or "OutOfMemory" in error.exception_type, []
    return False, _ids(entry)


def _compare(
    server: ComfyServer, graph: Graph, seed: int, wanted: bytes | None, row: Row
) -> list[str]:
    found = _result(server, graph, seed)
    if found is None or wanted is None:
        return ["the turn was answered from the server's cache, so nothing was compared"]
    row.same += found == wanted
    return [] if found == wanted else [f"seed {seed} gives another result than before"]


def _entries(server: ComfyServer) -> set[str]:
    loaded = load_session(session_folder_of(server.base_dir, SESSION))
    for entry in loaded.cache.entries:
        # Reading compares the hashes.
        assert entry.latent.numel()
    return {entry.entry_id for entry in loaded.cache.entries}


def _ids(entry: dict) -> list[str]:
    texts = [" ".join(result.get("text") or ()) for result in entry["outputs"].values()]
    return [found for text in texts for found in re.findall(r"turn \d+ is ([0-9a-f]{8})", text)]
