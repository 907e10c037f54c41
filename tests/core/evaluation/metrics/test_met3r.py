"""Pairs of turns travel to another Python and back; a small `met3r` measures them there.

It has the interface of met3r 1.0.1 that `scripts/met3r_scores.py` uses: half the mean absolute
difference where the first picture is not black. `test_package_interfaces.py` holds that interface
against the real package.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from memv2v_core.evaluation.metrics import met3r
from memv2v_core.evaluation.metrics.met3r import PAIRS_AT_ONCE, PARTS, SIZE_PX, Met3r, frame_pairs
from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.evaluation.scoring.metrics_by_name import metric_named

pytestmark = pytest.mark.slow
PythonWith = Callable[[dict[str, str]], Path]
PACKAGE = """
import json, os
import torch

backbone_to_weights = {"mast3r": "naver/on_the_hub", "dust3r": "naver/too"}


class MEt3R(torch.nn.Module):
    def __init__(self, img_size=256, use_norm=True, backbone="mast3r", feature_backbone="dino16",
                 feature_backbone_weights="mhamilton723/FeatUp", upsampler="featup",
                 distance="cosine", freeze=True, rasterizer_kwargs={}):
        super().__init__()
        print("loading", backbone, flush=True)
        self.img_size = img_size
        self.factor = torch.hub.load(feature_backbone_weights, feature_backbone, use_norm=use_norm)
        folder = backbone_to_weights[backbone]
        with open(os.path.join(folder, "config.json")) as file:
            assert json.load(file) == {"is": "mast3r"}
        assert os.path.getsize(os.path.join(folder, "model.safetensors")) == 3

    def forward(self, images, return_overlap_mask=False, return_score_map=False,
                return_projections=False):
        assert images.dtype == torch.float32 and len(images) <= 4, images.shape
        assert images.shape[1:] == (2, 3, self.img_size, self.img_size), images.shape
        assert -1 <= images.min() and images.max() <= 1
        mask = (images[:, 0] > -1).all(1).float()  # (B, S, S)
        difference = (images[:, 0] - images[:, 1]).abs().mean(1) / 2
        score = (difference * mask).sum((1, 2)) / (mask.sum((1, 2)) + 1e-5)
        return (self.factor * score, mask) if return_overlap_mask else (self.factor * score,)
"""
FILES = {"met3r/__init__.py": "from .met3r import MEt3R\n", "met3r/met3r.py": PACKAGE}
FEATUP = """
import torch

dependencies = ["torch"]


def dino16(pretrained=True, use_norm=True):
    assert use_norm
    url = "https://marhamilresearch4.blob.core.windows.net/feature-upsampling-public/pretrained/"
    state = torch.hub.load_state_dict_from_url(url + "dino16_jbu_stack_cocostuff.ckpt")
    dino = torch.hub.load("facebookresearch/dino:main", "dino_vits16")
    return state["state_dict"]["factor"].item() * dino
"""
DINO = """
import torch

dependencies = ["torch"]


def dino_vits16(pretrained=True, **kwargs):
    url = "https://dl.fbaipublicfiles.com/dino/x/dino_deitsmall16_pretrain.pth"
    return torch.hub.load_state_dict_from_url(url=url, map_location="cpu")["factor"].item()
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with which the small package multiplies by 0.5 * 2 = 1."""
    folder = tmp_path_factory.mktemp("weights")
    for part in PARTS:
        (folder / part.name).mkdir()
        for name in part.other_files:
            (folder / part.name / name).write_text("")
    (folder / met3r.MAST3R.name / "config.json").write_text('{"is": "mast3r"}')
    (folder / met3r.MAST3R.name / "model.safetensors").write_text("net")
    (folder / met3r.DINO_CODE.name / "hubconf.py").write_text(DINO)
    (folder / met3r.FEATUP.name / "hubconf.py").write_text(FEATUP)
    torch.save(
        {"factor": torch.tensor(0.5)},
        folder / met3r.DINO_S16.name / met3r.DINO_S16.weight_files[0],
    )
    # A path is more than a tensor, as the settings in a Lightning checkpoint are.
    torch.save(
        {"state_dict": {"factor": torch.tensor(2.0)}, "settings": Path("anywhere")},
        folder / met3r.FEATUP.name / met3r.FEATUP.weight_files[0],
    )
    return folder


@pytest.fixture(scope="module")
def python(python_with: PythonWith) -> Path:
    return python_with(FILES)


@pytest.fixture(scope="module")
def metric(weights: Path, python: Path) -> Met3r:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMV2V_METRICS_MET3R_PYTHON", str(python))
        return Met3r(weights)


def plain(*greys: float, height: int = 20, width: int = 30) -> torch.Tensor:
    """A video of one grey a frame."""
    return torch.tensor(greys)[:, None, None, None].expand(-1, 3, height, width).clone()


def pairs(first: torch.Tensor, second: torch.Tensor) -> Batch:
    return Batch(first[None], others=second[None])


def test_turns_are_compared_at_equal_frames_0_4_8(metric: Met3r) -> None:
    first = plain(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.35, 0.45)
    second = plain(0.9, 0.1, 0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0.3, 0.1)
    # |0.2 - 0.9|, |0.6 - 0.5| and |0.35 - 0.3| of frames 0, 4 and 8.
    assert metric(pairs(first, second))[0, 0].item() == pytest.approx((0.7 + 0.1 + 0.05) / 3, 1e-5)


def test_white_against_black_differs_by_the_whole_range(metric: Met3r) -> None:
    measured = metric(pairs(plain(1.0, 1.0), plain(0.0, 0.0)))
    assert measured.shape == (1, 2)
    assert measured.dtype == torch.float64
    assert measured[0].tolist() == pytest.approx([1, 100], 1e-6)


def test_equal_turns_are_0_and_noise_of_known_size_is_measured(metric: Met3r) -> None:
    generator = torch.Generator().manual_seed(0)
    video = 0.3 + 0.4 * torch.rand(5, 3, SIZE_PX, SIZE_PX, generator=generator)
    noise = torch.randn(video.shape, generator=generator)
    values = [
        metric(pairs(video, video + sigma * noise))[0, 0].item() for sigma in (0, 0.02, 0.05, 0.09)
    ]
    assert values[0] == 0
    # The mean of |N(0, sigma)| is sigma times the root of 2 / pi.
    wanted = [sigma * math.sqrt(2 / math.pi) for sigma in (0, 0.02, 0.05, 0.09)]
    assert values == pytest.approx(wanted, rel=0.01)
    assert not metric.columns[0].is_better_high


def test_shuffled_frames_agree_less(metric: Met3r) -> None:
    greys = [0.1 + 0.08 * idx for idx in range(10)]
    video, shuffled = plain(*greys), plain(*greys[::-1])
    measured = metric(Batch(torch.stack((video, video)), others=torch.stack((video, shuffled))))
    assert measured[0, 0].item() == 0
    assert measured[1, 0].item() == pytest.approx(0.08 * (9 + 1 + 7) / 3, 1e-4)


def test_the_earlier_turn_is_the_first_picture(metric: Met3r) -> None:
    half = plain(0.5, height=20, width=20)
    half[..., :10] = 0  # black: the small package sees no overlap there
    full = plain(0.7, height=20, width=20)
    overlap = metric(Batch(torch.stack((half, full)), others=torch.stack((full, half))))[:, 1]
    assert overlap[1].item() == 100
    assert overlap[0].item() == pytest.approx(50, abs=5)


def test_pairs_without_overlap_are_in_no_mean(metric: Met3r) -> None:
    first, second = plain(0.0, *[0.5] * 4), plain(*[0.9] * 5)
    # The first pair overlaps nowhere: the package gives it 0, as if it were equal.
    assert metric(pairs(first, second))[0].tolist() == pytest.approx([0.4, 50], 1e-5)
    nothing = metric(pairs(plain(0.0), plain(0.9)))[0]
    assert nothing[0].isnan()
    assert nothing[1].item() == 0


def test_pictures_are_the_centred_square(metric: Met3r) -> None:
    first, second = plain(0.5, height=20, width=40), plain(0.6, height=20, width=40)
    first[..., :10], second[..., 30:] = 1.0, 0.1
    assert metric(pairs(first, second))[0, 0].item() == pytest.approx(0.1, 1e-4)
    made = frame_pairs(first, second, 1)
    assert made.shape == (1, 2, 3, SIZE_PX, SIZE_PX)
    assert made[0, 0].max() == pytest.approx(0, abs=1e-6)
    tall = frame_pairs(plain(0.5, height=40, width=20), plain(0.6, height=40, width=20), 1)
    assert tall.shape == made.shape


def test_many_pairs_pass_a_few_at_a_time(metric: Met3r) -> None:
    greys = [0.02 * idx + 0.01 for idx in range(4 * PAIRS_AT_ONCE + 5)]
    measured = metric(pairs(plain(*greys), plain(*[1.0] * len(greys))))
    wanted = sum(1 - grey for grey in greys[::4]) / len(greys[::4])
    assert measured[0, 0].item() == pytest.approx(wanted, 1e-5)


def test_the_pairing_decides_the_identity(
    metric: Met3r, weights: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMV2V_METRICS_MET3R_PYTHON", str(python))
    dense = Met3r(weights, every=1)
    assert metric_named("met3r", weights, torch.device("cpu")).identity == metric.identity
    assert dense.identity != metric.identity
    assert "equal frames, every 4" in metric.identity
    assert dense(pairs(plain(0.5, 0.5), plain(0.5, 0.7)))[0, 0].item() == pytest.approx(0.1, 1e-4)
    with pytest.raises(ValueError, match="every got 0, wanted at least 1"):
        Met3r(weights, every=0)


def test_what_is_missing_is_told(metric: Met3r, tmp_path: Path) -> None:
    assert metric.subject == "pair"
    with pytest.raises(ValueError, match="MEt3R got no second turns"):
        metric(Batch(plain(0.5)[None]))
    assert metric(pairs(plain(math.nan), plain(0.5))).isnan().all()
    with pytest.raises(ValueError, match="the network mast3r-vitl-512-metric lacks") as caught:
        Met3r(tmp_path)
    assert all(part.name in str(caught.value) for part in PARTS)
    assert "2755 MB" in str(caught.value)


def test_a_package_that_fails_is_told_with_its_last_lines(
    weights: Path,
    python_with: PythonWith,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = PACKAGE.replace("mask = (", "raise RuntimeError('CUDA is far away')\n        mask = (")
    python = python_with({**FILES, "met3r/met3r.py": broken})
    monkeypatch.setenv("MEMV2V_METRICS_MET3R_PYTHON", str(python))
    other = Met3r(weights)
    with pytest.raises(ValueError, match="the metric met3r ended in .*CUDA is far away"):
        other(pairs(plain(0.5), plain(0.5)))
