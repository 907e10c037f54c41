"""`dev.py demo`: the shipped workflow, with and without memory, in a real ComfyUI."""

import argparse
import json
import sys
import time
from pathlib import Path

from .api import ComfyApi, Progress, output_files
from .environment import ROOT, Environment
from .server import running_server
from .workflow import workflow_to_prompt

WORKFLOW = ROOT / "workflows" / "multi_turn_novel_view.json"
OUTPUT = ROOT / "demo_output"


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's command-line options to `parser`."""
    parser.add_argument("--workflow", type=Path, default=WORKFLOW, help="a workflow saved by ComfyUI's editor")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results")
    parser.add_argument("--gpu", action="store_true", help="let ComfyUI use the GPU instead of the CPU")


def run_demo(environment: Environment, options: argparse.Namespace) -> int:
    """Exit code 0 after the workflow ran and its files lie in the output folder."""
    began_s = time.monotonic()
    with running_server(environment, on_cpu=not options.gpu, extra_args=["--disable-api-nodes"]) as server:
        prompt = load_prompt(server.api, options.workflow)
        files = run_prompt(server.api, prompt, options.output)
    print(f"{len(files)} files in {options.output} after {time.monotonic() - began_s:.0f} s")
    return 0


def load_prompt(api: ComfyApi, workflow: Path) -> dict[str, dict]:
    """The API prompt of a workflow file."""
    return workflow_to_prompt(json.loads(workflow.read_text(encoding="utf-8")), api.object_info())


def run_prompt(api: ComfyApi, prompt: dict[str, dict], folder: Path) -> tuple[Path, ...]:
    """The files that the prompt's nodes saved, downloaded to `folder`; progress goes to the terminal."""
    entry = api.run(prompt, ProgressLine(prompt))
    print()
    saved = (output for output in output_files(entry) if output.folder_type == "output")
    return tuple(api.download(output, folder / output.filename) for output in saved)


class ProgressLine:
    """Shows a prompt's progress: one line rewritten on a terminal, one line per node elsewhere."""

    def __init__(self, prompt: dict[str, dict]) -> None:
        self._prompt = prompt
        self._last_node = ""

    def __call__(self, progress: Progress) -> None:
        title = self._prompt[progress.node_id]["_meta"]["title"] if progress.node_id in self._prompt else ""
        nodes = f"{progress.num_done + 1}/{progress.num_nodes}"
        if sys.stdout.isatty():
            print(f"\r  {nodes}  {title}  {progress.step}/{progress.num_steps}".ljust(79)[:79], end="", flush=True)
        elif progress.node_id != self._last_node:
            print(f"  {nodes}  {title}", flush=True)
        self._last_node = progress.node_id
