"""Memory of a real server while it edits a long clip with the built-in editor: resident bytes at
every segment.

    PYTHON benchmarks/long_memory.py [--frames 960] [--steps 2]

Prints the highest resident size while segment 3, segment 12 and the last one were at work, and
their ratios.
"""

import argparse
import platform
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from devtools.api import ComfyApi
from devtools.environment import find_environment
from devtools.server import ComfyServer, running_server
from memv2v_core.synthetic.demo_clips import FRAME_RATE, demo_scenes
from memv2v_core.synthetic.rendering import render_world

SIZE, SESSION, POLL_S = 96, "long_memory", 0.02


def write_clip(path: Path, num_frames: int) -> None:
    """A rendered clip of one shot as a video file."""
    ((world, _),) = demo_scenes(0, 1, "hat")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(FRAME_RATE).limit_denominator(100))
        stream.width, stream.height, stream.pix_fmt, stream.options = (
            SIZE,
            SIZE,
            "yuv420p",
            {"crf": "10"},
        )
        for start in range(0, num_frames, 16):
            frames = render_world(world, range(start, min(start + 16, num_frames)), SIZE)
            for pixels in (frames * 255).round().byte().movedim(1, -1).numpy():
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())


def edit_prompt(api: ComfyApi, clip: str, steps: int) -> dict[str, dict]:
    """EditLongVideo on an uploaded clip."""
    info = api.object_info()

    def node(kind: str, **inputs: object) -> dict:
        required = info[kind]["input"]["required"]
        defaults = {
            name: spec[1]["default"]
            for name, spec in required.items()
            if "default" in (spec[1:] or [{}])[0]
        }
        return {"class_type": kind, "inputs": {**defaults, **inputs}}

    return {
        "load": node("LoadMemoryV2VModel", model_name="built-in: text_edit"),
        "prompt": node("CLIPTextEncode", clip=["load", 1], text="put a hat on the red ball"),
        "clip": node("LoadVideo", file=clip),
        "edit": node(
            "MemV2VEditLongVideo",
            model=["load", 0],
            vae=["load", 2],
            positive=["prompt", 0],
            video=["clip", 0],
            k=4,
            session=SESSION,
            steps=steps,
        ),
        "save": node(
            "SaveVideo", video=["edit", 0], filename_prefix="edited", format="mp4", codec="h264"
        ),
    }


def watch(server: ComfyServer, peaks: dict[int, int], is_done: threading.Event) -> None:
    """Keep the highest resident size of the server for every number of finished segments."""
    process = psutil.Process(server.process.pid)
    folder = server.base_dir / "output" / "memory_v2v" / SESSION
    while not is_done.is_set():
        finished = len(list(folder.glob("*.safetensors"))) if folder.is_dir() else -1
        peaks[finished + 1] = max(peaks.get(finished + 1, 0), process.memory_info().rss)
        time.sleep(POLL_S)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=960)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    peaks: dict[int, int] = {}
    with running_server(find_environment(), extra_args=["--disable-api-nodes"]) as server:
        clip = server.base_dir / "long.mp4"
        write_clip(clip, options.frames)
        prompt = edit_prompt(server.api, server.api.upload(clip), options.steps)
        is_done = threading.Event()
        watcher = threading.Thread(target=watch, args=(server, peaks, is_done))
        watcher.start()
        began_s = time.monotonic()
        try:
            server.api.run(prompt)
            seconds = time.monotonic() - began_s
        finally:
            is_done.set()
            watcher.join()
    last = max(peaks) - 1  # after the last segment's entry was written the result is put together
    print(
        f"{platform.machine()}, {options.frames} frames, {last} segments, {options.steps} steps, "
        f"{seconds:.0f} s"
    )
    for segment in (3, 12, last):
        print(
            f"segment {segment}: {peaks[segment] / 2**20:.0f} MiB, {peaks[segment] / peaks[3]:.3f} "
            "of segment 3"
        )
    print(
        f"putting together: {peaks[last + 1] / 2**20:.0f} MiB, {peaks[last + 1] / peaks[3]:.3f} of "
        "segment 3"
    )


if __name__ == "__main__":
    main()
