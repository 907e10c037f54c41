"""Miniature data sets in their true layouts, and what prepares them."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.recammaster import save_recammaster
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.clips.clip_files import write_clip
from memv2v_core.strict_yaml import build
from memv2v_core.training.prepare.config import PrepareConfig

NUM_FRAMES, SIDE = 5, 32


@pytest.fixture(scope="session")
def made_clips() -> dict[tuple[int, ...], bytes]:
    """Files of clips that were made before: coding them takes longest."""
    return {}


@pytest.fixture
def make_clip(made_clips: dict[tuple[int, ...], bytes]) -> Callable[..., Path]:
    """make_clip(path, seed, num_frames, height, width): a clip of smooth random colours."""

    def make(
        path: Path, seed: int = 0, num_frames: int = 6, height: int = 32, width: int = 48
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = (seed, num_frames, height, width)
        if key in made_clips:
            path.write_bytes(made_clips[key])
            return path
        generator = torch.Generator().manual_seed(seed)
        small = torch.rand(num_frames, 3, 4, 4, generator=generator)
        frames = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")
        write_clip(path, frames, Fraction(15), crf=0)
        made_clips[key] = path.read_bytes()
        return path

    return make


def moving_path(num_frames: int, speed: float) -> CameraTrajectory:
    """A camera that moves along +X and turns a little."""
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    angle = 0.01 * speed * torch.arange(num_frames, dtype=torch.float64)
    c2w[:, 0, 0], c2w[:, 0, 2] = angle.cos(), angle.sin()
    c2w[:, 2, 0], c2w[:, 2, 2] = -angle.sin(), angle.cos()
    c2w[:, 0, 3] = speed * torch.arange(num_frames)
    lens = torch.eye(3, dtype=torch.float64).repeat(num_frames, 1, 1)
    return CameraTrajectory(c2w, lens)


@pytest.fixture
def multicam(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    """MultiCamVideo of two lenses, three scenes and three cameras, with its captions."""
    root, rows = tmp_path / "MultiCamVideo-Dataset", ["file_name,text"]
    scenes = ("f18_aperture10/scene1", "f18_aperture10/scene10", "f35_aperture2.4/scene2")
    for number, scene in enumerate(scenes):
        cameras = {f"cam{i:02d}": moving_path(9, i + number) for i in (1, 2, 3)}
        for i, name in enumerate(cameras):
            place = f"{scene}/videos/{name}.mp4"
            make_clip(root / "train" / place, 10 * number + i, height=64, width=64)
            rows.append(f'{place},"a scene, number {number}"')
        (root / "train" / scene / "cameras").mkdir()
        save_recammaster(cameras, root / "train" / scene / "cameras" / "camera_extrinsics.json")
    (root / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def senorita(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    """Senorita-2M of two tasks; the lists name the folders as before the upload."""
    root = tmp_path / "Senorita"

    def edit(number: int, folder: str, source: str, target: str) -> dict[str, str]:
        return {
            "source_video_path": f"./{folder}/{number}/{source}.mp4",
            "target_video_path": f"./{folder}/{number}/{target}.mp4",
            "instruction": f"swap {number}",
            "enhanced_instruction": f"Swap the thing for number {number}.",
        }

    swaps = [edit(0, "obj_swap_videos", "aa_org", "aa"), edit(1, "obj_swap_videos", "bb_org", "bb")]
    removals = [[edit(2, "obj_removal", "cc", "cc_org")], [edit(3, "obj_removal", "dd_org", "dd")]]
    (root / "obj_removal_videos_upload").mkdir(parents=True)
    folders = ("obj_swap_upload", "obj_swap_upload", "obj_removal_videos_upload2")
    for number, (folder, stem) in enumerate(zip(folders, ("aa", "bb", "cc"), strict=True)):
        make_clip(root / folder / str(number) / f"{stem}_org.mp4", number)
        make_clip(root / folder / str(number) / f"{stem}.mp4", 100 + number)
    make_clip(root / "obj_removal_videos_upload" / "3" / "dd_org.mp4", 3, num_frames=11)
    make_clip(root / "obj_removal_videos_upload" / "3" / "dd.mp4", 103, num_frames=12)
    (root / "updated_data_obj_swap_videos.json").write_text(json.dumps(swaps), encoding="utf-8")
    (root / "updated_data_obj_removal.json").write_text(json.dumps(removals), encoding="utf-8")
    return root


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., PrepareConfig]:
    """make_config(dataset, **changes): a configuration for the built-in codec, 32x32, 5 frames."""

    def make(dataset: dict, **changes: object) -> PrepareConfig:
        values = {
            "output": str(tmp_path / "prepared"),
            "dataset": dataset,
            "encoder": {"kind": "built_in", "model": "novel_view", "device": "cpu"},
            "height": SIDE,
            "width": SIDE,
            "num_frames": NUM_FRAMES,
            "held_out_share": 0.0,
        }
        return build(PrepareConfig, values | changes, "test.yaml")

    return make
