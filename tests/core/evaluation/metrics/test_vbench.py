"""The six measures travel to another Python and back; a small `vbench` computes them there.

It has the interface of vbench 0.1.5 that `scripts/vbench_scores.py` uses, and measures that are
known by hand. `test_package_interfaces.py` holds that interface against the real package.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from memv2v_core.evaluation.metrics import vbench
from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.evaluation.metrics.vbench import PARTS, VBench, as_bytes, write_lossless
from memv2v_core.evaluation.scoring.metrics_by_name import metric_named

pytestmark = pytest.mark.slow
PythonWith = Callable[[dict[str, str]], Path]
# What each small network multiplies by: its weights must really be read.
SCALES = {"dino": 0.5, "clip_b": 0.25, "clip_l": 2.0, "head": 3.0, "musiq": 4.0, "amt": 0.75}
READS = """
import av, numpy as np


def load_video(video_path, data_transform=None, num_frames=None, return_tensor=True, width=None,
               height=None):
    assert video_path.endswith(".mp4") and not return_tensor
    return frames_of(video_path)


def frames_of(path):
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def of(path):
    return frames_of(path).astype(np.float64) / 255
"""
ONE = "from vbench.utils import of\nimport numpy as np, torch\n\n\n"
FILES = {
    "vbench/__init__.py": "",
    "vbench/utils.py": READS,
    "vbench/subject_consistency.py": ONE
    + "def subject_consistency(model, video_list, device, read_frame):\n"
    "    assert read_frame is False and not torch.is_grad_enabled()\n"
    "    frames = of(video_list[0])\n"
    "    return 1 - model.scale * np.abs(frames[1:] - frames[0]).mean(), []\n",
    "vbench/background_consistency.py": ONE
    + "def background_consistency(clip_model, preprocess, video_list, device, read_frame):\n"
    "    assert preprocess == 'prepare'\n"
    "    frames = of(video_list[0])\n"
    "    return 1 - clip_model.scale * np.abs(np.diff(frames, axis=0)).mean(), []\n",
    "vbench/aesthetic_quality.py": ONE + "def get_aesthetic_model(cache_folder):\n"
    "    head = torch.nn.Linear(1, 1, bias=False)\n"
    "    head.load_state_dict(torch.load(cache_folder + '/sa_0_4_vit_l_14_linear.pth'))\n"
    "    return head\n\n\n"
    "def laion_aesthetic(aesthetic_model, clip_model, video_list, device):\n"
    "    return aesthetic_model.weight.item() * clip_model.scale * of(video_list[0]).mean(), []\n",
    "vbench/imaging_quality.py": ONE
    + "def technical_quality(model, video_list, device, **kwargs):\n"
    "    return model.scale.item() * of(video_list[0]).var(), []\n",
    "vbench/temporal_flickering.py": ONE + "def temporal_flickering(video_list):\n"
    "    return 1 - np.abs(np.diff(of(video_list[0]), axis=0)).mean(), []\n",
    "vbench/motion_smoothness.py": ONE + "class MotionSmoothness:\n"
    "    def __init__(self, config, ckpt, device):\n"
    "        assert open(config).read() == 'AMT' and device == 'cpu'\n"
    "        self.scale = torch.load(ckpt)['scale'].item()\n\n\n"
    "def motion_smoothness(motion, video_list):\n"
    "    frames = of(video_list[0])\n"
    "    between = (frames[:-2] + frames[2:]) / 2\n"
    "    return 1 - motion.scale * np.abs(frames[1:-1] - between).mean(), []\n",
    "vbench/third_party/amt/cfgs/AMT-S.yaml": "AMT",
    "vbench-0.1.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: vbench\nVersion: 0.1.5\n",
    "clip.py": "import torch\n\n\nclass Model:\n    pass\n\n\n"
    "def load(name, device, jit=False, download_root=None):\n"
    "    model = Model()\n"
    "    model.scale = torch.load(name)['scale'].item()\n"
    "    return model, 'prepare'\n",
    "pyiqa/__init__.py": "",
    "pyiqa/archs/__init__.py": "",
    "pyiqa/archs/musiq_arch.py": "import torch\n\n\nclass MUSIQ(torch.nn.Module):\n"
    "    def __init__(self, pretrained_model_path=None):\n"
    "        super().__init__()\n"
    "        self.scale = torch.nn.Parameter(torch.load(pretrained_model_path)['scale'])\n",
}
HUBCONF = """
import torch

dependencies = ["torch"]


class Net(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale


def dino_vitb16(pretrained=True, **kwargs):
    url = "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth"
    return Net(torch.hub.load_state_dict_from_url(url=url, map_location="cpu")["scale"].item())
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for part in PARTS:
        (folder / part.name).mkdir()
        for name in part.other_files:
            (folder / part.name / name).write_text("")
    (folder / vbench.DINO_CODE.name / "hubconf.py").write_text(HUBCONF)
    parts = {
        "dino": vbench.DINO_B16,
        "clip_b": vbench.CLIP_B32,
        "clip_l": vbench.CLIP_L14,
        "musiq": vbench.MUSIQ,
        "amt": vbench.AMT_S,
    }
    for key, part in parts.items():
        place = folder / part.name / part.weight_files[0]
        torch.save({"scale": torch.tensor(SCALES[key])}, place)
    head = folder / vbench.AESTHETIC.name / vbench.AESTHETIC.weight_files[0]
    torch.save({"weight": torch.tensor([[SCALES["head"]]])}, head)
    return folder


@pytest.fixture(scope="module")
def python(python_with: PythonWith) -> Path:
    return python_with(FILES)


@pytest.fixture(scope="module")
def metric(weights: Path, python: Path) -> VBench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMV2V_METRICS_VBENCH_PYTHON", str(python))
        return VBench(weights)


def pan(num_frames: int = 6) -> torch.Tensor:
    """Smooth pictures (F, 3, 40, 52) that move sideways."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 6, 9, generator=generator)
    wide = torch.nn.functional.interpolate(coarse, (40, 80), mode="bicubic")[0].clamp(0, 1)
    return torch.stack([wide[..., 3 * idx : 3 * idx + 52] for idx in range(num_frames)])


def by_hand(video: torch.Tensor) -> list[float]:
    frames = as_bytes(video).astype(np.float64) / 255
    steps = np.abs(np.diff(frames, axis=0)).mean()
    between = (frames[:-2] + frames[2:]) / 2
    return [
        1 - SCALES["dino"] * np.abs(frames[1:] - frames[0]).mean(),
        1 - SCALES["clip_b"] * steps,
        SCALES["head"] * SCALES["clip_l"] * frames.mean(),
        SCALES["musiq"] * frames.var(),
        1 - steps,
        1 - SCALES["amt"] * np.abs(frames[1:-1] - between).mean(),
    ]


def test_each_column_is_what_the_package_measured_on_these_frames(metric: VBench) -> None:
    moving = pan()
    generator = torch.Generator().manual_seed(4)
    noisy = (moving + 0.1 * torch.randn(moving.shape, generator=generator)).clamp(0, 1)
    measured = metric(Batch(torch.stack((moving, noisy)), frame_rate=24.0))
    assert measured.shape == (2, 6)
    assert measured.dtype == torch.float64
    wanted = torch.tensor([by_hand(moving), by_hand(noisy)], dtype=torch.float64)
    assert torch.allclose(measured, wanted, atol=1e-6, rtol=0)


def test_still_videos_are_steady_and_noise_and_shuffling_are_not(metric: VBench) -> None:
    names = [column.name for column in metric.columns]
    flicker, smooth = names.index("temporal flickering"), names.index("motion smoothness")
    moving = pan()
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(moving.shape, generator=generator)
    rows = [moving[:1].expand_as(moving)]
    rows += [(moving + sigma * noise).clamp(0, 1) for sigma in (0, 0.05, 0.1, 0.2)]
    measured = metric(Batch(torch.stack(rows)))
    assert measured[0, [0, 1, 4, 5]].tolist() == [1, 1, 1, 1]
    for column in (flicker, smooth):
        falling = measured[:, column].tolist()
        assert falling == sorted(falling, reverse=True)
        assert len(set(falling)) == len(falling)
    shuffled = metric(Batch(moving[[0, 3, 1, 5, 2, 4]][None]))[0]
    assert all(shuffled[column] < measured[1, column] for column in (flicker, smooth))
    # The same pictures in another order are as beautiful.
    assert torch.allclose(shuffled[2:4], measured[1, 2:4])
    assert all(column.is_better_high for column in metric.columns)


def test_values_that_need_more_frames_do_not_exist(metric: VBench) -> None:
    one, two = metric(Batch(pan(1)[None]))[0], metric(Batch(pan(2)[None]))[0]
    assert [math.isnan(value) for value in one] == [True, True, False, False, True, True]
    assert [math.isnan(value) for value in two] == [False] * 5 + [True]
    broken = pan()
    broken[2, 0, 5, 5] = torch.nan
    assert metric(Batch(broken[None])).isnan().all()


def test_an_mp4_holds_every_byte(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    frames = np.random.default_rng(0).integers(0, 256, (5, 35, 51, 3), dtype=np.uint8)
    write_lossless(tmp_path / "video.mp4", frames, 23.976)
    with av.open(str(tmp_path / "video.mp4")) as container:
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array_equal(np.stack(read), frames)


def test_a_package_that_decodes_other_frames_is_told(
    weights: Path,
    python_with: PythonWith,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lossy = READS.replace("return frames_of(video_path)", "return frames_of(video_path) // 2 * 2")
    python = python_with({**FILES, "vbench/utils.py": lossy})
    monkeypatch.setenv("MEMV2V_METRICS_VBENCH_PYTHON", str(python))
    other = VBench(weights)
    with pytest.raises(ValueError, match="decodes is not the one that was sent"):
        other(Batch(pan()[None]))


def test_weights_and_package_decide_the_identity(
    metric: VBench, weights: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMV2V_METRICS_VBENCH_PYTHON", str(python))
    same = metric_named("vbench", weights, torch.device("cpu"))
    assert same.identity == metric.identity
    assert metric.identity.startswith("vbench 0.1.5, ")
    place = weights / vbench.AMT_S.name / vbench.AMT_S.weight_files[0]
    kept = place.read_bytes()
    torch.save({"scale": torch.tensor(0.5)}, place)
    other = VBench(weights)
    place.write_bytes(kept)
    assert other.identity != metric.identity


def test_every_missing_network_is_named_before_a_python_starts(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMV2V_METRICS_VBENCH_PYTHON", raising=False)
    nowhere = weights / "nowhere"
    with pytest.raises(ValueError, match="the network facebookresearch_dino_main lacks") as caught:
        VBench(nowhere)
    told = str(caught.value)
    assert all(part.name in told and part.weight_files[0] in told for part in PARTS)
    assert "933 MB" in told
    assert str(nowhere) in told
