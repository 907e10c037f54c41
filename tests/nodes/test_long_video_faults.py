"""EditLongVideo where something is wrong or changed: told in time, and nothing lost or wrongly
kept.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.long_video import ALL, on_disk

from memv2v_core.builtin import bundle
from memv2v_core.cache.session_names import session_folder
from memv2v_core.cache.storage import save_session


def test_a_lora_that_is_loaded_does_not_make_the_model_another(run, edit_loaded) -> None:
    block = edit_loaded[0].model.diffusion_model.blocks[0].ffn[0]
    changed = edit_loaded[0].clone()
    names = {"weight": block.weight, "bias": block.bias}
    patches = {
        f"diffusion_model.blocks.0.ffn.0.{key}": ("diff", (torch.ones_like(w),))
        for key, w in names.items()
    }
    changed.add_patches(patches, 0.5)
    assert run(model=changed).sampled == ALL
    assert run(model=changed).sampled == []


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_other_weights_under_the_same_name_start_all_segments_anew(
    run, edit_loaded, part: str
) -> None:
    run()
    values = getattr(edit_loaded[0].model.diffusion_model.blocks[0].ffn[0], part).data
    kept = values.clone()
    try:
        values.add_(0.1)
        assert run().sampled == ALL
    finally:
        values.copy_(kept)


def test_a_pin_that_changes_what_a_segment_would_see_is_named_as_that(run) -> None:
    from memory_v2v.nodes.host.sessions.folders import sessions_root

    first = run(k=1)
    save_session(on_disk().pin(first.ids[0]), session_folder(sessions_root(), "long"))
    pinned = run(k=1)
    assert pinned.outcomes() == ["kept", "kept", "stale", "stale"]
    assert "replaced" not in pinned.report
    assert "made now it would see segment 1 at" in pinned.report
    assert "saw a segment that is stale itself" in pinned.report


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"match_colours": True}, "overlap got 0, wanted 1 or more frames to match colours on"),
        (
            {"audio": {"waveform": torch.zeros(1, 2, 88200), "sample_rate": 44100}},
            "which last 1.06 s at a frame_rate of 16.000, and audio of 2.00 s, wanted equal",
        ),
        (
            {"aspect": "stretch", "height": 84},
            "height got 84, wanted a multiple of 8 .* use 80 or 88",
        ),
        ({"positive": None}, "positive is not connected, but .* reads prompts; connect CLIP Text"),
        ({"negative": None, "cfg": 2.0}, "negative is not connected, but .* or set cfg to 1"),
    ],
)
def test_what_the_result_cannot_have_is_told_before_anything_is_sampled(
    run, sampled: list[int], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        run(**changes)
    assert sampled == []


def test_a_disk_that_is_full_keeps_what_is_sampled_and_nothing_else(
    run, comfy_api, monkeypatch
) -> None:
    from memory_v2v.nodes.host.footage.writing import VideoWriter

    def full(writer: VideoWriter, frames: torch.Tensor) -> None:
        raise OSError(28, "No space left on device")

    folder = Path(comfy_api.folder_paths.get_temp_directory())
    held = set(folder.glob("*.mp4"))
    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "add", full)
        with pytest.raises(
            ValueError, match="could not be written .*No space left on device.*make room"
        ):
            run()
    assert set(folder.glob("*.mp4")) == held
    assert run().sampled == []


def test_a_prompt_that_the_model_cannot_read_is_named(run, tiny_model, sampled) -> None:
    with pytest.raises(ValueError, match="positive got a prompt, but .*tiny reads none; choose"):
        run(model=tiny_model)
    assert sampled == []


def test_inputs_that_cannot_be_are_named(comfy_api, run, tiny_weights) -> None:
    from memory_v2v.nodes.host.models.builtin_vae import BuiltinVAE
    from memory_v2v.nodes.videos.long_video import EditLongVideo

    assert EditLongVideo.validate_inputs(session="") is True
    assert "session name got 'a/b'" in EditLongVideo.validate_inputs(session="a/b")
    assert EditLongVideo.validate_inputs(session="fine") is True
    with pytest.raises(ValueError, match="redo got '9', wanted numbers from 1 to 4"):
        run(redo="9")
    with pytest.raises(ValueError, match="dinov2-base is missing"):
        run(descriptor="dinov2-base")
    with pytest.raises(ValueError, match="source got a latent of shape .1, 16"):
        run(vae=BuiltinVAE(bundle.load_codec("tiny")))
