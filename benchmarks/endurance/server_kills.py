"""A real ComfyUI server, killed while it makes turns of a named session."""

import os
import random
import re
import signal
import tempfile
import threading
import time
from pathlib import Path

from devtools.api import ENDINGS, ApiError
from devtools.environment import find_environment
from devtools.server import ComfyServer, running_server
from devtools.websocket import EventStream
from memv2v_core.cache.storage import load_session

from .graphs import SERVER_ARGUMENTS, Graph, Prompt, session_folder_of

SESSION, NUM_TURNS = "killed", 6


def kill_servers(count: int, seed: int) -> tuple[list[object], list[str]]:
    """A row of the table, and failures."""
    environment = find_environment()
    if environment is None:
        return ["ComfyUI server: skipped, COMFYUI_PATH is not set", 0, 0, 0, 0, ""], []
    rng = random.Random(seed)
    told: list[str] = []
    failures: list[str] = []
    repaired = 0
    with tempfile.TemporaryDirectory(prefix="memory-v2v-killed-") as folder:
        # One start more than kills: the last one only looks.
        for kill in range(count + 1):
            with running_server(
                environment, base_dir=Path(folder), extra_args=SERVER_ARGUMENTS
            ) as server:
                failures += [f"server kill {kill}: {text}" for text in _lost(server, told)]
                if kill == count:
                    break
                first, took_s = _first_turn(server, kill)
                # After 0 to 5 reported turns, at a random moment of the next one.
                when = rng.randrange(NUM_TURNS), rng.uniform(0, took_s)
                told += [*first, *_executed_before_kill(server, kill, *when)]
            loaded = load_session(session_folder_of(Path(folder), SESSION))
            repaired += bool(loaded.skipped or loaded.notices)
    row = ["ComfyUI server", count, len(told), len(failures), repaired, ""]
    return row, failures


def _lost(server: ComfyServer, told: list[str]) -> list[str]:
    """Turns that a server reported and that are not there after the next start."""
    if not told:
        return []
    graph = Graph(server.api.object_info())
    text = server.api.run(graph.shown(SESSION))["outputs"]["session"]["text"][0]
    loaded = load_session(session_folder_of(server.base_dir, SESSION))
    held = {entry.entry_id[:8] for entry in loaded.cache.entries}
    found = [f"turn {entry_id} is not on disk" for entry_id in told if entry_id not in held]
    found += [f"turn {entry_id} is not shown" for entry_id in told if entry_id not in text]
    for entry in loaded.cache.entries:
        # Reading compares the hashes.
        assert entry.latent.numel()
    harmless = ("unfinished write", "added")
    reports = (*loaded.skipped, *loaded.notices)
    return [*found, *(line for line in reports if not any(word in line for word in harmless))]


def _first_turn(server: ComfyServer, kill: int) -> tuple[list[str], float]:
    """(the id of a turn that is made right after the start, its seconds)."""
    graph = Graph(server.api.object_info())
    began_s = time.monotonic()
    entry = server.api.run(graph.turn(graph.base(SESSION), 1, ("session", 0), 10_000 + kill))
    return _ids(entry["outputs"]["turn1"]), time.monotonic() - began_s


def _executed_before_kill(
    server: ComfyServer, kill: int, num_turns: int, delay_s: float
) -> list[str]:
    """Ids of the turns that the server reported before it was killed.

    num_turns, delay_s: the kill comes so many seconds after so many reported turns.
    """
    graph = Graph(server.api.object_info())
    prompt: Prompt = graph.base(SESSION)
    cache = ("session", 0)
    for turn in range(1, NUM_TURNS + 1):
        prompt = graph.turn(prompt, turn, cache, seed=100 * kill + turn, steps=4)
        cache = (f"turn{turn}", 1)
    stream = EventStream(server.url, server.api.client_id)
    server.api.queue(prompt)
    killer = threading.Timer(delay_s, os.kill, (server.process.pid, signal.SIGKILL))
    told: list[str] = []
    try:
        while server.process.poll() is None:
            if len(told) >= num_turns and not killer.ident:
                killer.start()
            event = stream.next_event(0.2)
            if event is None:
                continue
            if event["type"] == "executed":
                told += _ids(event["data"].get("output") or {})
            if event["type"] in ENDINGS and not killer.ident:
                killer.start()
    except (OSError, ApiError):
        # The stream ends with the server.
        assert killer.ident, "the server died by itself"
    finally:
        server.process.wait()
        stream.close()
    return told


def _ids(output: dict) -> list[str]:
    """The ids in a sampler's words."""
    words = " ".join(output.get("text") or ())
    return re.findall(r"^turn \d+ is ([0-9a-f]{8})", words, flags=re.MULTILINE)
