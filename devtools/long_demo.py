"""`dev.py demo --task long`: a long clip edited segment by segment, with memory and without, in a
real ComfyUI.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .api import ComfyApi, output_files
from .demo import ProgressLine, demo_server
from .environment import ROOT, Environment, comfyui_version
from .workflow import node_titled, nodes_of_type, with_input, without_input, workflow_to_prompt

WORKFLOW = ROOT / "workflows" / "long_video_edit.json"
ARMS = ("memory", "independent")
SOURCE_TITLE, SAVE_SOURCE, SAVE_EDIT = "Source clip", "Save source clip", "Save edited clip"
DEFAULT_PROMPT = "put a hat on the red ball"
SEGMENT_FRAMES = 9
MEASURED = (
    "mean difference of the edited object between segments that show one scene (colour: distance "
    "in RGB of 0 to 1; shape: 1 - IoU); background against the source in dB"
)
MEASURED_OF_FOOTAGE = "share of pixels that differ plainly from the source"
REAL_FOOTAGE = (
    "The built-in editor knows only rendered clips of coloured shapes: on real footage this shows "
    "that cuts are found and the loop runs, not what a real model's edits look like."
)

Prompt = dict[str, dict]


@dataclass(frozen=True)
class LongArm:
    """What one mode made: the edited clip, the node's report, and the seconds it took."""

    clip: Path
    report: str
    seconds: float


def run_long_demo(environment: Environment, options: argparse.Namespace) -> int:
    """Exit code 0 after every mode ran and the files lie in the output folder.

    Raises: ValueError for a clip that does not exist.
    """
    began_s = time.monotonic()
    with demo_server(environment, options) as server:
        workflow = json.loads((options.workflow or WORKFLOW).read_text(encoding="utf-8"))
        prompt = workflow_to_prompt(workflow, server.api.object_info())
        rendered = rendered_clip(prompt)
        if options.video is not None:
            rendered, prompt = (
                None,
                with_clip(prompt, server.api.upload(options.video), options.prompt),
            )
        arms = {}
        for mode in ARMS:
            print(f"mode {mode}", flush=True)
            arms[mode] = run_mode(server.api, prompt, mode, options.output)
    sheet, loop = (options.output / name for name in ("long_contact_sheet.png", "long_loop.webp"))
    (edit_id,) = nodes_of_type(prompt, "MemV2VEditLongVideo")
    overlap = prompt[edit_id]["inputs"]["overlap"]
    measures = measure(environment, arms, options.output, (sheet, loop), rendered, overlap)
    report = {
        "measures": measures,
        "measured": MEASURED if rendered else MEASURED_OF_FOOTAGE,
        "seconds": round(time.monotonic() - began_s, 1),
        "mode_seconds": {mode: round(arm.seconds, 1) for mode, arm in arms.items()},
        "segments": {mode: arm.report.splitlines() for mode, arm in arms.items()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "comfyui": comfyui_version(environment.comfyui),
        "source": str(options.video) if options.video is not None else rendered,
        "notes": [] if rendered else [REAL_FOOTAGE],
    }
    (options.output / "long_report.json").write_text(
        json.dumps(report, indent=1) + "\n", encoding="utf-8"
    )
    summarise(report, sheet, options.output)
    return 0


def rendered_clip(prompt: Prompt) -> dict[str, object]:
    """Which rendered clip the workflow edits."""
    (clip_id,) = nodes_of_type(prompt, "MemV2VDemoLongVideo")
    inputs = prompt[clip_id]["inputs"]
    return {"seed": inputs["seed"], "shots": inputs["shots"], "kind": inputs["instruction"]}


def with_clip(prompt: Prompt, file: str, text: str | None) -> Prompt:
    """The prompt on an uploaded clip with an instruction of the user's."""
    clip_id, (edit_id,) = (
        node_titled(prompt, SOURCE_TITLE),
        nodes_of_type(prompt, "MemV2VEditLongVideo"),
    )
    for name in ("images", "frame_rate"):
        prompt = without_input(prompt, edit_id, name)
    prompt = with_input(prompt, edit_id, "video", ["load", 0])
    prompt = with_input(prompt, node_titled(prompt, "Instruction"), "text", text or DEFAULT_PROMPT)
    prompt = with_input(prompt, node_titled(prompt, SAVE_SOURCE), "video", ["load", 0])
    load = {"class_type": "LoadVideo", "inputs": {"file": file}, "_meta": {"title": "Your clip"}}
    unused = {clip_id, node_titled(prompt, "Source: video")}
    return {
        **{node_id: node for node_id, node in prompt.items() if node_id not in unused},
        "load": load,
    }


def run_mode(api: ComfyApi, prompt: Prompt, mode: str, folder: Path) -> LongArm:
    """Edit the clip in this mode, in a session of its own; the edited clip, and the source's, go to
    `folder`.
    """
    began_s = time.monotonic()
    (edit_id,) = nodes_of_type(prompt, "MemV2VEditLongVideo")
    prompt = with_input(prompt, edit_id, "mode", mode)
    prompt = with_input(prompt, edit_id, "session", f"demo_{mode}_{time.strftime('%Y%m%d_%H%M%S')}")
    save_id, source_id = node_titled(prompt, SAVE_EDIT), node_titled(prompt, SAVE_SOURCE)
    entry = api.run(prompt, ProgressLine(prompt))
    clip = folder / f"long_{mode}.mp4"
    for output in output_files(entry):
        if output.folder_type == "output" and output.node_id == save_id:
            api.download(output, clip)
        elif output.folder_type == "output" and output.node_id == source_id:
            api.download(output, folder / "long_source.mp4")
    return LongArm(clip, entry["outputs"][edit_id]["text"][0], time.monotonic() - began_s)


def measure(
    environment: Environment,
    arms: dict[str, LongArm],
    folder: Path,
    pictures: tuple[Path, Path],
    rendered: dict[str, object] | None,
    overlap: int,
) -> dict[str, dict[str, float]]:
    """The measures of every mode, by the environment's Python.

    pictures: where it writes the contact sheet and, of a rendered clip, the looping picture.

    Raises: ValueError where it fails; the edited clips stay.
    """
    clips = {mode: str(arm.clip.resolve()) for mode, arm in arms.items()}
    source = str((folder / "long_source.mp4").resolve())
    spec = {
        "source": source,
        "arms": clips,
        "segment": SEGMENT_FRAMES,
        "overlap": overlap,
        "rendered": rendered,
    }
    command = [
        str(environment.python),
        "-m",
        "memv2v_core.evaluation.long_video.demo",
        *(str(picture.resolve()) for picture in pictures),
    ]
    done = subprocess.run(
        command, input=json.dumps(spec), text=True, check=False, cwd=ROOT, stdout=subprocess.PIPE
    )
    if done.returncode:
        raise ValueError(
            f"measuring the edited clips got exit code {done.returncode}, wanted 0; the clips "
            f"themselves are finished and lie in {folder}; its own message is above"
        )
    return json.loads(done.stdout)


def summarise(report: dict, sheet: Path, folder: Path) -> None:
    """A few lines on the terminal."""
    print(f"{report['measured']}:")
    for mode, values in report["measures"].items():
        numbers = ", ".join(
            f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items()
        )
        print(f"  {mode}: {numbers}; {report['mode_seconds'][mode]:.0f} s")
    for note in report["notes"]:
        print(f"  {note}")
    print(f"  {report['segments']['memory'][0]}")
    print(f"  look at {sheet}")
    print(
        f"  {folder} also holds an mp4 a mode and long_report.json; {report['seconds']:.0f} s in "
        "all"
    )
