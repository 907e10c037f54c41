"""Many turns of one named session on a real server: time, memory, handles and threads."""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from devtools.environment import find_environment
from devtools.server import ComfyServer, running_server

from .graphs import SERVER_ARGUMENTS, Graph, Prompt
from .tables import report

SESSION, SHOWN, TOLERANCE = "soak", (1, 50, 100, 200, 500, 1000, 2000), 1.1
# Growth is measured after the first turns, when everything is loaded.
EARLY, NUM_LATE = slice(50, 100), 50


@dataclass(frozen=True)
class Sample:
    """The server after one turn.

    ratio: to the seconds of the same turn without a session, made right after it: a machine that
    slows down changes both.
    """

    seconds: float
    ratio: float
    mib: float
    handles: int
    threads: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turns", type=int, default=500)
    parser.add_argument("--k", type=int, default=3, help="memories of each turn")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument(
        "--retrieve",
        choices=("recent", "fov"),
        default="recent",
        help="recent: the newest k, the same work in every turn. fov: VideoFOV, which compares the "
        "path with every turn of the session, so that its time grows with the session",
    )
    parser.add_argument(
        "--plain", action="store_true", help="ComfyUI's own nodes: what ComfyUI itself grows"
    )


def main(options: argparse.Namespace) -> int:
    environment = find_environment()
    if environment is None:
        print("skipped: the soak needs a ComfyUI; set COMFYUI_PATH")
        return 0
    samples: list[Sample] = []
    with running_server(environment, extra_args=SERVER_ARGUMENTS) as server:
        graph = Graph(server.api.object_info(), num_frames=1, size=64)
        make = _plain if options.plain else _turn
        for number in range(1, options.turns + 1):
            alone = make(graph, number, options, session="")
            samples.append(_sample(server, make(graph, number, options), alone))
    shown = sorted({number for number in SHOWN if number < len(samples)} | {len(samples)})
    rows: list[list[object]] = []
    for number in shown:
        s = samples[number - 1]
        rows.append(
            [number, f"{s.seconds:.3f}", f"{s.ratio:.2f}", f"{s.mib:.0f}", s.handles, s.threads]
        )
    failures, growth = _growth(samples)
    kind = (
        "ComfyUI's own nodes"
        if options.plain
        else f"named session, {options.retrieve}, k = {options.k}"
    )
    head = ["turn", "seconds", "of a turn without session", "resident, MiB", "handles", "threads"]
    return report(f"Soak, {kind}; {growth}", head, rows, failures)


def _turn(graph: Graph, number: int, options: argparse.Namespace, session: str = SESSION) -> Prompt:
    """The same workflow, queued again with another seed."""
    prompt = graph.turn(
        graph.base(session), 1, ("session", 0), seed=number, steps=options.steps, k=options.k
    )
    if options.retrieve == "recent":
        prompt["retrieve1"] = graph.node("MemV2VRecentRetrieve", cache=["session", 0], k=options.k)
    return prompt


def _plain(
    graph: Graph, number: int, _options: argparse.Namespace, session: str = SESSION
) -> Prompt:
    """A prompt of ComfyUI's own nodes that changes with its number, around the same VAE."""
    return {
        "load": graph.base("")["load"],
        "image": graph.node(
            "EmptyImage", width=32, height=32, batch_size=1, color=2 * number + (not session)
        ),
        "latent": graph.node("VAEEncode", pixels=["image", 0], vae=["load", 2]),
        "keep": graph.node("SaveLatent", samples=["latent", 0], filename_prefix="latents/kept"),
    }


def _sample(server: ComfyServer, prompt: Prompt, alone: Prompt) -> Sample:
    seconds, base = _seconds(server, prompt), _seconds(server, alone)
    process = psutil.Process(server.process.pid)
    with process.oneshot():
        size = process.memory_info().rss / 2**20
        return Sample(seconds, seconds / base, size, process.num_fds(), process.num_threads())


def _seconds(server: ComfyServer, prompt: Prompt) -> float:
    began_s = time.monotonic()
    server.api.wait(server.api.queue(prompt), pauses=_short_pauses())
    return time.monotonic() - began_s


def _short_pauses() -> Iterator[None]:
    while True:
        time.sleep(0.01)
        yield


def _growth(samples: list[Sample]) -> tuple[list[str], str]:
    """(measures that grew by more than 10 %, all growth in words)."""
    early, late = samples[EARLY], samples[-NUM_LATE:]
    if len(samples) < EARLY.stop + NUM_LATE:
        return [], f"{len(samples)} turns are too few to measure growth"
    words, failures = [], []
    for name in ("ratio", "mib", "handles", "threads"):
        before, after = (_median([getattr(s, name) for s in part]) for part in (early, late))
        words.append(f"{name} x{after / before:.2f}")
        # Of ten handles, one more is already 10 %.
        slack = 2 if name in ("handles", "threads") else 0
        if after > before * TOLERANCE + slack:
            failures.append(f"{name} grew from {before:.3g} to {after:.3g}, wanted at most 10 %")
    return failures, "last 50 turns against turns 51 to 100: " + ", ".join(words)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
