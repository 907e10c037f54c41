"""A folder of clips is lengthened whole, in parts, and again; what cannot be used is named.

A stand-in lengthens here; tests/core/training/prepare/test_framepack.py has the true classes.
"""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.clips.clip_files import read_frames, write_clip
from memv2v_core.training.prepare.extension import (
    ClipExtender,
    ExtensionConfig,
    ExtensionReport,
    clip_seed,
    device_of,
    extend_clips,
    load_extender,
)

NUM_GIVEN, NUM_NEW = 5, 4
NAMES = ("a", "b", "deep/c", "deep/d")
SEED_OF_DEEP_C = 6407435429860896313
ALL_FILES = ["extension.yaml", *sorted(f"{name}.{end}" for name in NAMES for end in ("mp4", "txt"))]


class _Extender:
    """New frames that differ by clip, prompt and seed. It notes the prompts that it gets."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def extend(self, frames: torch.Tensor, prompt: str, seed: int) -> torch.Tensor:
        self.prompts.append(prompt)
        noise = torch.rand(
            NUM_NEW, *frames.shape[1:], generator=torch.Generator().manual_seed(seed + len(prompt))
        )
        return torch.cat([frames, noise * frames[-1]])


@pytest.fixture
def config(tmp_path: Path) -> ExtensionConfig:
    """Four clips of six frames, with their texts, and no weights."""
    for seed, name in enumerate(NAMES):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = torch.rand(6, 3, 16, 32, generator=torch.Generator().manual_seed(seed))
        write_clip(path.with_suffix(".mp4"), frames, 12, crf=0)
        path.with_suffix(".txt").write_text(f"clip {name}\n", encoding="utf-8")
    models = tmp_path / "models"
    return ExtensionConfig(
        *(tmp_path / "clips", tmp_path / "longer"),
        *(models / "framepack", models / "hunyuan", models / "siglip"),
        num_clip_frames=NUM_GIVEN,
        num_new_frames=NUM_NEW,
        crf=0,
    )


def _run(
    config: ExtensionConfig, extender: ClipExtender | None = None, shard: tuple[int, int] = (0, 1)
) -> ExtensionReport:
    return extend_clips(config, shard, load=lambda _: extender or _Extender())


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_clip_is_lengthened_and_keeps_text_and_rate(config: ExtensionConfig) -> None:
    extender = _Extender()
    report = _run(config, extender)
    assert (report.num_clips, report.num_extended, report.broken) == (4, 4, ())
    assert extender.prompts == ["clip a", "clip b", "clip deep/c", "clip deep/d"]
    assert sorted(_files(config.output_folder)) == sorted(ALL_FILES)
    longer = read_frames(config.output_folder / "deep" / "c.mp4")
    given = read_frames(config.clips_folder / "deep" / "c.mp4").frames
    assert longer.rate == 12
    assert len(longer.frames) == NUM_GIVEN + NUM_NEW
    assert torch.equal(longer.frames[:NUM_GIVEN], given[:NUM_GIVEN])
    assert (config.output_folder / "deep" / "c.txt").read_text(encoding="utf-8") == "clip deep/c"


def test_a_run_that_was_ended_goes_on(config: ExtensionConfig, tmp_path: Path) -> None:
    _run(config)
    whole = _files(config.output_folder)
    again = replace(config, output_folder=tmp_path / "again")

    class _Ends(_Extender):
        def extend(self, frames: torch.Tensor, prompt: str, seed: int) -> torch.Tensor:
            if prompt == "clip deep/c":
                raise KeyboardInterrupt
            return super().extend(frames, prompt, seed)

    with pytest.raises(KeyboardInterrupt):
        _run(again, _Ends())
    rest = _Extender()
    report = _run(again, rest)
    assert (report.num_finished, report.num_extended) == (2, 2)
    assert rest.prompts == ["clip deep/c", "clip deep/d"]
    assert _files(again.output_folder) == whole
    # Nothing is left to do, so nothing is loaded.
    assert extend_clips(again).num_finished == 4


def test_shards_make_the_files_of_one_run(config: ExtensionConfig, tmp_path: Path) -> None:
    _run(config)
    sharded = replace(config, output_folder=tmp_path / "sharded")
    extenders = [_Extender(), _Extender()]
    for index in (1, 0):
        report = _run(sharded, extenders[index], shard=(index, 2))
        assert (report.num_clips, report.num_own, report.num_extended) == (4, 2, 2)
    assert extenders[0].prompts == ["clip a", "clip deep/c"]
    assert extenders[1].prompts == ["clip b", "clip deep/d"]
    assert _files(sharded.output_folder) == _files(config.output_folder)
    with pytest.raises(ValueError, match="shard got 2 of 2, wanted 0 to 1"):
        extend_clips(config, shard=(2, 2))


def test_broken_clips_are_named_and_passed_over(
    config: ExtensionConfig, caplog: pytest.LogCaptureFixture
) -> None:
    (config.clips_folder / "a.mp4").write_bytes(b"no video")
    (config.clips_folder / "deep" / "c.txt").unlink()
    write_clip(config.clips_folder / "deep" / "d.mp4", torch.zeros(3, 3, 16, 32), 12)
    with caplog.at_level(logging.WARNING):
        report = _run(config)
    assert report.num_extended == 1
    errors = dict(report.broken)
    assert "a.mp4 cannot be read" in errors["a"]
    assert "c.txt cannot be read" in errors["deep/c"]
    assert "d.mp4 got 3 frames after frame 0, wanted 5" in errors["deep/d"]
    assert "3 passed over: a, deep/c, deep/d" in caplog.text
    assert sorted(_files(config.output_folder)) == ["b.mp4", "b.txt", "extension.yaml"]


def test_a_dry_run_shows_the_plan_and_does_nothing(
    config: ExtensionConfig, caplog: pytest.LogCaptureFixture
) -> None:
    (config.clips_folder / "b.txt").unlink()
    with caplog.at_level(logging.INFO):
        report = extend_clips(config, dry_run=True)
    assert (report.num_clips, report.num_extended) == (4, 0)
    assert not config.output_folder.exists()
    assert (
        "4 clips, 4 of them in shard 0 of 1: 0 finished, 4 to lengthen by 4 frames" in caplog.text
    )
    assert f"seed {clip_seed(config, 'a')}: clip a" in caplog.text
    assert "b.txt cannot be read" in caplog.text
    assert "hunyuan_folder got" in caplog.text


def test_progress_says_how_long_it_will_take(
    config: ExtensionConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    extender = _Extender()
    # A clock on which every clip takes 50 minutes.
    monkeypatch.setattr("time.monotonic", lambda: 3000.0 * len(extender.prompts))
    with caplog.at_level(logging.INFO):
        _run(config, extender)
    assert "1 of 4, 3000 s a clip, 2 h 30 min left" in caplog.text
    assert "4 of 4, 3000 s a clip, 0 h 0 min left" in caplog.text


def test_missing_weights_are_an_error_that_names_them_all(config: ExtensionConfig) -> None:
    with pytest.raises(ValueError, match="transformer_folder got .*framepack without") as error:
        load_extender(config)
    for text in (
        *("lllyasviel/FramePack_F1_I2V_HY_20250503", "hunyuanvideo-community/HunyuanVideo"),
        *("lllyasviel/flux_redux_bfl", str(config.hunyuan_folder), "vae, scheduler"),
    ):
        assert text in str(error.value)


def test_other_settings_are_not_mixed_into_a_folder(config: ExtensionConfig) -> None:
    _run(config)
    with pytest.raises(ValueError, match=r"extension\.yaml shows other settings"):
        _run(replace(config, num_steps=9))
    # Where things lie, and on which device they run, changes nothing.
    assert _run(replace(config, device="cpu")).num_finished == 4


def test_clips_are_scaled_and_cropped_to_a_size(config: ExtensionConfig) -> None:
    _run(replace(config, size=(32, 32)))
    assert read_frames(config.output_folder / "a.mp4").frames.shape == (9, 3, 32, 32)


def test_a_seed_follows_from_the_name_alone(config: ExtensionConfig) -> None:
    # The first 63 bits of `printf 0/deep/c | sha256sum`.
    assert clip_seed(config, "deep/c") == SEED_OF_DEEP_C
    assert clip_seed(replace(config, seed=1), "deep/c") != SEED_OF_DEEP_C
    assert clip_seed(config, "deep/d") != SEED_OF_DEEP_C


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert device_of("auto") == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of("auto") == torch.device("cuda:3")
    assert device_of("cpu") == torch.device("cpu")


def test_settings_that_cannot_work_are_refused(config: ExtensionConfig) -> None:
    with pytest.raises(ValueError, match=r"num_clip_frames got 32, wanted 4 n \+ 1"):
        replace(config, num_clip_frames=32)
    with pytest.raises(ValueError, match="num_steps got 0, wanted at least 1"):
        replace(config, num_steps=0)
    with pytest.raises(ValueError, match=r"size got \(480, 830\), wanted multiples of 16"):
        replace(config, size=(480, 830))
    with pytest.raises(ValueError, match="inside of clips_folder"):
        replace(config, output_folder=config.clips_folder / "longer")
    with pytest.raises(ValueError, match="nothing without clips"):
        extend_clips(replace(config, clips_folder=config.clips_folder.parent / "nothing"))
