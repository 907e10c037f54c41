"""`dev.py demo`: cameras that move through a scene with depth, with and without memory, in a real
ComfyUI.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path

from .api import ComfyApi
from .demo import ARMS, REAL_FOOTAGE, ArmResult, demo_server, run_arm
from .demo_prompts import (
    SOURCE_TITLE,
    TURNS,
    VIDEO_FPS,
    Prompt,
    saving_to,
    with_video,
    without_memory,
)
from .environment import ROOT, Environment, comfyui_version
from .workflow import node_titled, workflow_to_prompt

WORKFLOW = ROOT / "workflows" / "multi_turn_depth.json"
SHEET, LOOP, REPORT = "depth_contact_sheet.png", "depth_loop.webp", "depth_report.json"
MEASURED = (
    "mean absolute difference (values 0 to 1) of turn C to turns A and B, at points that both "
    "turns show in the same frame and no frame of the source shows; warped by exact geometry, what "
    "is hidden left out"
)


def run_depth_demo(environment: Environment, options: argparse.Namespace) -> int:
    """Exit code 0 after both arms ran and their files lie in the output folder.

    Raises: ValueError for a clip that does not exist, and for a workflow without the named nodes.
    """
    began_s = time.monotonic()
    with demo_server(environment, options) as server:
        prompt = prepare_prompt(server.api, options)
        known = scene_and_paths(prompt) if options.video is None else None
        if options.video is not None:
            prompt = with_video(prompt, server.api.upload(options.video))
        arms = {}
        for arm in ARMS:
            print(f"{arm.replace('_', ' ')}: three turns", flush=True)
            variant = prompt if arm == ARMS[0] else without_memory(prompt)
            arms[arm] = run_arm(server.api, saving_to(variant, arm), options.output, f"depth_{arm}")
    measures = measure(environment, arms, known, options.output)
    notes = list(arms[ARMS[0]].notes)
    if known is None:
        notes += ["The source's camera is not known and was taken as static.", REAL_FOOTAGE]
    report = {
        "measures": measures,
        "measured": MEASURED if measures else "nothing: the geometry of a clip is not known",
        "seconds": round(time.monotonic() - began_s, 1),
        "arm_seconds": {arm: round(result.seconds, 1) for arm, result in arms.items()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "comfyui": comfyui_version(environment.comfyui),
        "source": str(options.video) if known is None else known["scene"],
        "video_fps": VIDEO_FPS,
        "notes": notes,
    }
    (options.output / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    summarise(report, options.output)
    return 0


def prepare_prompt(api: ComfyApi, options: argparse.Namespace) -> Prompt:
    """The shipped workflow, or the user's, as a prompt."""
    workflow = json.loads((options.workflow or WORKFLOW).read_text(encoding="utf-8"))
    return workflow_to_prompt(workflow, api.object_info())


def scene_and_paths(prompt: Prompt) -> dict[str, dict]:
    """Which scene the workflow renders, and the widgets of every turn's camera path.

    Raises: ValueError for a scene without depth, and for a path that is not given by widgets alone.
    """
    source = prompt[node_titled(prompt, SOURCE_TITLE)]["inputs"]
    if source.get("kind") != "depth":
        raise ValueError(
            f"kind of the node {SOURCE_TITLE!r} got {source.get('kind')!r}, wanted 'depth'; choose "
            "it in the workflow, or run dev.py demo --task turns"
        )
    titles = {turn: f"Turn {turn}: camera path" for turn in TURNS}
    paths = {turn: prompt[node_titled(prompt, title)]["inputs"] for turn, title in titles.items()}
    nodes = {SOURCE_TITLE: source, **{titles[turn]: paths[turn] for turn in TURNS}}
    for title, inputs in nodes.items():
        linked = [name for name, value in inputs.items() if isinstance(value, list)]
        if linked:
            raise ValueError(
                f"{title} got a link to {linked[0]}, wanted widgets alone; disconnect it, or run "
                "the workflow in ComfyUI"
            )
    sizes = {name: source[name] for name in ("size", "num_frames", "drift_deg")}
    return {"scene": {"number": source["scene"], **sizes}, "paths": paths}


def measure(
    environment: Environment,
    arms: dict[str, ArmResult],
    known: dict[str, dict] | None,
    folder: Path,
) -> dict[str, dict[str, float]]:
    """The measures of both arms, by the environment's Python; it writes the two pictures too.

    known: see `scene_and_paths`; None for a clip, of which nothing is measured.

    Raises: ValueError where it fails; the videos stay.
    """
    videos = {
        arm: {
            turn: [str(path.resolve()) for path in result.pictures[f"Turn {turn}: frames"]]
            for turn in TURNS
        }
        for arm, result in arms.items()
    }
    source = [str(path.resolve()) for path in arms[ARMS[0]].pictures["Source frames"]]
    spec = {**(known or {"scene": None, "paths": {}}), "source": source, "arms": videos}
    pictures = [str((folder / name).resolve()) for name in (SHEET, LOOP)]
    done = subprocess.run(
        [str(environment.python), "-m", "memv2v_core.evaluation.depth.demo", *pictures],
        input=json.dumps(spec),
        text=True,
        check=False,
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    if done.returncode:
        raise ValueError(
            f"measuring the turns got exit code {done.returncode}, wanted 0; the videos themselves "
            f"are finished and lie in {folder}; its own message is above"
        )
    return json.loads(done.stdout)


def summarise(report: dict, folder: Path) -> None:
    """A few lines on the terminal."""
    scores = [report["measures"].get(arm, {}).get("mae") for arm in ARMS]
    if None not in scores:
        times = f", {scores[1] / scores[0]:.1f} times less" if scores[0] else ""
        print(
            "Where the source never looked, turn C differs from what turns A and B showed by (mean "
            "absolute difference):"
        )
        print(f"  with memory {scores[0]:.4f}, without memory {scores[1]:.4f}{times}")
    print(f"  {' '.join(report['notes']) or 'The scene is procedural and was never trained on.'}")
    print(f"  look at {folder / LOOP}, a moving picture; its frames are in {folder / SHEET}")
    print(f"  {folder} also holds an mp4 a turn and {REPORT}; {report['seconds']:.0f} s in all")
