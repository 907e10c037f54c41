"""LPIPS is what its package makes of the frames, with a small memory and without a download."""

import sys
from pathlib import Path

import pytest
import torch

from memv2v_core.evaluation.metrics.lpips import ALEXNET, FRAMES_AT_ONCE, LEAST_PX, Lpips
from memv2v_core.evaluation.metrics.metric import Batch

SEED = 7
REASON = "needs the package lpips, which the pack does not require: pip install lpips==0.1.4"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random numbers in the layers of AlexNet that LPIPS reads, as torchvision names them."""
    models = pytest.importorskip("torchvision.models")
    folder = tmp_path_factory.mktemp("weights")
    (folder / ALEXNET.name).mkdir()
    torch.manual_seed(SEED)
    trunk = models.alexnet(weights=None).features
    named = {f"features.{name}": value for name, value in trunk.state_dict().items()}
    torch.save(named, folder / ALEXNET.name / ALEXNET.weight_files[0])
    return folder


@pytest.fixture(scope="module")
def metric(weights: Path) -> Lpips:
    pytest.importorskip("lpips", reason=REASON)
    return Lpips(weights)


@pytest.fixture(scope="module")
def by_hand() -> torch.nn.Module:
    """The package's network; its trunk draws the numbers of `weights` from the same seed."""
    lpips = pytest.importorskip("lpips", reason=REASON)
    torch.manual_seed(SEED)
    return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)


def videos(seed: int, count: int = 2, num_frames: int = 3) -> torch.Tensor:
    """Smooth pictures with edges."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count * num_frames, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (48, 64), mode="bicubic").clamp(0, 1)
    return smooth.unflatten(0, (count, num_frames))


@torch.no_grad()
def test_lpips_is_the_packages(metric: Lpips, by_hand: torch.nn.Module) -> None:
    made, true = videos(0, num_frames=FRAMES_AT_ONCE + 3), videos(1, num_frames=FRAMES_AT_ONCE + 3)
    measured = metric(Batch(made, truths=true))
    assert measured.shape == (2, 1)
    assert measured.dtype == torch.float64
    for row, video, truth in zip(measured, made, true, strict=True):
        wanted = by_hand(2 * video - 1, 2 * truth - 1).mean().item()
        assert wanted > 1e-3
        assert row.item() == pytest.approx(wanted, abs=1e-6)


def test_equal_videos_have_no_distance_and_noise_raises_it(metric: Lpips) -> None:
    true = videos(0, count=1)
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(2))
    values = [
        metric(Batch((true + sigma * noise).clamp(0, 1), truths=true)).item()
        for sigma in (0, 0.05, 0.1, 0.2, 0.4)
    ]
    assert values[0] == 0
    assert all(more > 1.2 * less for more, less in zip(values[1:], values, strict=False))
    assert not metric.columns[0].is_better_high


def test_two_videos_measure_as_each_alone(metric: Lpips) -> None:
    made, true = videos(0), videos(1)
    alone = [metric(Batch(made[i : i + 1], truths=true[i : i + 1])) for i in range(2)]
    assert torch.equal(metric(Batch(made, truths=true)), torch.cat(alone))


def test_a_long_video_passes_a_few_frames_at_a_time(metric: Lpips) -> None:
    counts = []
    # The package calls the trunk's `forward` past its hooks, and the layers inside as usual.
    hook = metric.network.net.slice1.register_forward_hook(
        lambda _module, args, _output: counts.append(len(args[0]))
    )
    length = 2 * FRAMES_AT_ONCE + 1
    video = videos(0, count=1, num_frames=length)
    metric(Batch(video, truths=video))
    hook.remove()
    # Each piece passes once as the video and once as the truth.
    assert sum(counts) == 2 * length
    assert max(counts) == FRAMES_AT_ONCE


def test_nothing_is_left_to_train(metric: Lpips) -> None:
    assert not metric.network.training
    assert not any(value.requires_grad for value in metric.network.parameters())


def test_frames_below_the_least_size_are_refused(metric: Lpips) -> None:
    least = torch.rand(1, 1, 3, LEAST_PX, LEAST_PX)
    assert metric(Batch(least, truths=1 - least)).item() > 0
    small = torch.rand(1, 1, 3, LEAST_PX - 1, 64)
    with pytest.raises(ValueError, match=f"frames of 64x{LEAST_PX - 1} pixels, wanted at least"):
        metric(Batch(small, truths=small))


def test_missing_truths_are_refused(metric: Lpips) -> None:
    assert metric.needs == {"truth"}
    with pytest.raises(ValueError, match="LPIPS got no truths"):
        metric(Batch(videos(0)))


def test_missing_weights_name_source_size_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the network alexnet lacks") as caught:
        Lpips(tmp_path)
    told = str(caught.value)
    for part in ("alexnet-owt-7be5be79.pth", "download.pytorch.org", "244 MB", str(tmp_path)):
        assert part in told


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("lpips", reason=REASON)
    (tmp_path / ALEXNET.name).mkdir()
    path = tmp_path / ALEXNET.name / ALEXNET.weight_files[0]
    torch.save({"features.0.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"wanted torchvision's AlexNet; download it from https"):
        Lpips(tmp_path)
    path.write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match=r"alexnet-owt-7be5be79.pth in .* could not be read"):
        Lpips(tmp_path)


def test_a_missing_package_is_named_with_its_remedy(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ValueError, match=r"needs the package lpips .*pip install lpips==0.1.4"):
        Lpips(weights)
