"""`dev.py demo --task turns`: cameras that turn on the spot, with and without memory.

It runs the shipped workflow in a real ComfyUI.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .api import ComfyApi, Progress, output_files
from .demo_prompts import TURNS, VIDEO_FPS, saving_to, with_truth, with_video, without_memory
from .environment import ROOT, Environment, comfyui_version
from .server import ComfyServer, running_server
from .workflow import nodes_of_type, workflow_to_prompt

WORKFLOW = ROOT / "workflows" / "multi_turn_novel_view.json"
OUTPUT = ROOT / "demo_output"
ARMS = ("with_memory", "without_memory")
SHEET_FRAMES = (0, 2, 4, 6, 8)
# Frames of turns A and B beside the frames of turn C that look at the same place again.
SAME_VIEWS = ((("A", 4), 6), (("A", 8), 8), (("B", 4), 4), (("B", 6), 2))
REAL_FOOTAGE = (
    "The built-in model knows only procedural scenes: on real footage this "
    "shows that the loop runs, not what a real model's pictures look like."
)


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's command-line options to `parser`."""
    parser.add_argument(
        "--task",
        choices=("depth", "turns", "long"),
        default="depth",
        help="cameras that move through a scene with depth (if not given), cameras that turn on "
        "the spot, or a long video in segments",
    )
    parser.add_argument(
        "--video", type=Path, help="run the loop on this clip instead of the rendered scene"
    )
    parser.add_argument("--prompt", help="the instruction for a long --video")
    parser.add_argument(
        "--workflow",
        type=Path,
        help="a workflow saved by ComfyUI's editor, instead of the shipped one",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results")
    parser.add_argument(
        "--gpu", action="store_true", help="let ComfyUI use the GPU instead of the CPU"
    )


@dataclass(frozen=True)
class ArmResult:
    """What one run of the workflow gave: its report, its notes, and picture files by node title.

    consistency: of Consistency Report, where the workflow has one.
    """

    consistency: dict | None
    notes: tuple[str, ...]
    pictures: dict[str, list[Path]]
    seconds: float


@contextlib.contextmanager
def demo_server(environment: Environment, options: argparse.Namespace) -> Iterator[ComfyServer]:
    """A server for a demo, its output folder made.

    Raises: ValueError for a clip that does not exist.
    """
    if options.video is not None and not options.video.is_file():
        raise ValueError(f"--video got {options.video}, which is no file; name a video clip")
    options.output.mkdir(parents=True, exist_ok=True)
    print("Starting ComfyUI ...", flush=True)
    with running_server(
        environment, on_cpu=not options.gpu, extra_args=["--disable-api-nodes"]
    ) as server:
        yield server


def run_demo(environment: Environment, options: argparse.Namespace) -> int:
    """Exit code 0 after both arms ran and their files lie in the output folder.

    Raises: ValueError for a clip that does not exist.
    """
    began_s = time.monotonic()
    with demo_server(environment, options) as server:
        remembering = prepare_prompt(server.api, options)
        arms = {}
        for arm in ARMS:
            print(f"{arm.replace('_', ' ')}: three turns", flush=True)
            prompt = remembering if arm == ARMS[0] else without_memory(remembering)
            arms[arm] = run_arm(server.api, saving_to(prompt, arm), options.output, arm)
    sheet = draw_sheet(environment, arms, options.output, has_truth=options.video is None)
    if options.workflow is None:
        draw_point(environment, arms, options.output)
    report = make_report(arms, options, environment.comfyui, time.monotonic() - began_s)
    (options.output / "report.json").write_text(
        json.dumps(report, indent=1) + "\n", encoding="utf-8"
    )
    summarise(report, sheet, options.output)
    return 0


def prepare_prompt(api: ComfyApi, options: argparse.Namespace) -> dict[str, dict]:
    """The shipped workflow as a prompt, on the user's clip, or with the truth rendered beside
    it."""
    prompt = workflow_to_prompt(
        json.loads((options.workflow or WORKFLOW).read_text(encoding="utf-8")), api.object_info()
    )
    if options.video is None:
        return with_truth(prompt)
    return with_video(prompt, api.upload(options.video))


def run_arm(api: ComfyApi, prompt: dict[str, dict], folder: Path, arm: str) -> ArmResult:
    """Run the prompt; videos go to `folder`, frames to its subfolder `frames`."""
    began_s = time.monotonic()
    entry = api.run(prompt, ProgressLine(prompt))
    if sys.stdout.isatty():
        print()
    pictures: dict[str, list[Path]] = {}
    for output in output_files(entry):
        title = prompt[output.node_id]["_meta"]["title"]
        if output.folder_type == "output":
            suffix = Path(output.filename).suffix
            api.download(
                output, folder / f"{arm}_{title.removeprefix('Save ').replace(' ', '_')}{suffix}"
            )
        elif title.endswith("frames"):
            count = len(pictures.setdefault(title, []))
            name = f"{arm}_{title.replace(':', '').replace(' ', '_')}_{count:02d}.png"
            pictures[title].append(api.download(output, folder / "frames" / name))
    reports = [
        json.loads(entry["outputs"][node]["text"][0])
        for node in nodes_of_type(prompt, "MemV2VConsistencyReport")
    ]
    # A node whose result the server kept from the other arm does not run, and says nothing again.
    told = [
        entry["outputs"][node]["text"]
        for node in nodes_of_type(prompt, "MemV2VFitVideo")
        if node in entry["outputs"]
    ]
    return ArmResult(
        reports[0] if reports else None,
        tuple(text for texts in told for text in texts),
        pictures,
        time.monotonic() - began_s,
    )


def draw_sheet(
    environment: Environment, arms: dict[str, ArmResult], folder: Path, has_truth: bool
) -> Path:
    """The contact sheet of both arms, drawn by the environment's Python, as a PNG in `folder`."""
    first = arms[ARMS[0]].pictures
    rows = [("source", first["Source frames"])]
    for arm in ARMS:
        rows += [
            (f"turn {turn}, {arm.replace('_', ' ')}", arms[arm].pictures[f"Turn {turn}: frames"])
            for turn in TURNS
        ]
    if has_truth:
        rows += [(f"turn {turn}, the truth", first[f"Truth {turn}: frames"]) for turn in TURNS]
    return _draw(environment, folder / "contact_sheet.png", SHEET_FRAMES, rows)


def draw_point(environment: Environment, arms: dict[str, ArmResult], folder: Path) -> Path:
    """The point of the demo in three rows, as a PNG in `folder`: what turns A and B showed first,
    and how turn C shows the same places again, with memory and without.
    """
    remembering, forgetful = (arms[arm].pictures for arm in ARMS)
    rows = [
        (
            "turns A and B invent what the source never showed",
            [remembering[f"Turn {turn}: frames"][frame] for (turn, frame), _ in SAME_VIEWS],
        ),
        (
            "turn C looks there again, with memory: the same",
            [remembering["Turn C: frames"][frame] for _, frame in SAME_VIEWS],
        ),
        (
            "turn C without memory: something else",
            [forgetful["Turn C: frames"][frame] for _, frame in SAME_VIEWS],
        ),
    ]
    return _draw(environment, folder / "point.png", range(len(SAME_VIEWS)), rows)


def _draw(
    environment: Environment,
    path: Path,
    frames: Sequence[int],
    rows: Sequence[tuple[str, list[Path]]],
) -> Path:
    """A contact sheet of labelled rows of picture files, drawn by the environment's Python."""
    named = [(label, [str(picture) for picture in pictures]) for label, pictures in rows]
    command = [str(environment.python), "-m", "memv2v_core.pictures.contact_sheet", str(path)]
    spec = json.dumps({"frames": list(frames), "rows": named})
    subprocess.run(command, input=spec, text=True, check=True, cwd=ROOT)
    return path


def make_report(
    arms: dict[str, ArmResult], options: argparse.Namespace, comfyui: Path, seconds: float
) -> dict:
    """All that the demo measured, for report.json."""
    notes = list(arms[ARMS[0]].notes)
    if options.video is not None:
        notes += ["The source's camera is not known and was taken as static.", REAL_FOOTAGE]
    return {
        "consistency": {arm: result.consistency for arm, result in arms.items()},
        "measured": (
            "mean absolute difference (values 0 to 1) between turns, warped exactly into "
            "one another, at equal frames, outside every source frame's view"
        ),
        "seconds": round(seconds, 1),
        "arm_seconds": {arm: round(result.seconds, 1) for arm, result in arms.items()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "comfyui": comfyui_version(comfyui),
        "source": str(options.video) if options.video is not None else "rendered scene",
        "video_fps": VIDEO_FPS,
        "notes": notes,
    }


def summarise(report: dict, sheet: Path, folder: Path) -> None:
    """Five lines on the terminal."""
    scores = [report["consistency"][arm]["mae"] for arm in ARMS]
    shown = ["-" if score is None else f"{score:.4f}" for score in scores]
    times = f", {scores[1] / scores[0]:.1f} times less" if None not in scores and scores[0] else ""
    print(
        "Where the source never looked, turns differ from each other by (mean absolute difference):"
    )
    print(f"  with memory {shown[0]}, without memory {shown[1]}{times}")
    print(f"  {' '.join(report['notes']) or 'The scene is procedural and was never trained on.'}")
    print(f"  look at {sheet}")
    print(f"  {folder} also holds an mp4 a turn and report.json; {report['seconds']:.0f} s in all")


class ProgressLine:
    """Shows a prompt's progress: one line rewritten on a terminal, one line per node elsewhere."""

    def __init__(self, prompt: dict[str, dict]) -> None:
        self._prompt = prompt
        self._last_node = ""

    def __call__(self, progress: Progress) -> None:
        title = (
            self._prompt[progress.node_id]["_meta"]["title"]
            if progress.node_id in self._prompt
            else ""
        )
        nodes = f"{progress.num_done + 1}/{progress.num_nodes}"
        if sys.stdout.isatty():
            print(
                f"\r  {nodes}  {title}  {progress.step}/{progress.num_steps}".ljust(79)[:79],
                end="",
                flush=True,
            )
        elif progress.node_id != self._last_node:
            print(f"  {nodes}  {title}", flush=True)
        self._last_node = progress.node_id
