"""The folder that preparation writes and the trainer reads."""

import json
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.shapes import VaeRatios
from memv2v_core.training.data.prepared_folder import (
    PreparedFolder,
    PreparedHeader,
    PreparedItem,
    PreparedVideo,
    text_path,
)
from memv2v_core.training.data.prepared_writing import PreparedWriter, file_safe
from memv2v_core.weights.weight_files import read_weights

HEADER = PreparedHeader("novel_view", "folder: tests", "none", VaeRatios(4, 8, 2), 3)
SIZE = (2, 3, 4, 5)


def _video(name: str) -> PreparedVideo:
    return PreparedVideo(name, "view", SIZE, 9, "a cat", has_cameras=True)


def _latent(seed: int) -> torch.Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def writer(tmp_path: Path) -> PreparedWriter:
    """A folder of two scenes with two views each."""
    writer = PreparedWriter(tmp_path / "out", HEADER)
    writer.write_text("", torch.zeros(1, 3))
    tokens = torch.tensor([[1.0, 2, 3], [0, 0, 0], [4, 5, 6], [0, 0, 0], [0, 0, 0]])
    writer.write_text("a cat", tokens.bfloat16())
    for i, (name, split) in enumerate((("b", "train"), ("a", "held_out"))):
        videos = (_video(f"{name}_cam01"), _video(f"{name}_cam02"))
        for k, video in enumerate(videos):
            writer.write_latent(video, _latent(2 * i + k))
            writer.write_cameras(video, static_trajectory(3, is_assumed=True))
        writer.finish(PreparedItem(name, split, videos))
    return writer


def test_a_folder_reads_back_as_written(writer: PreparedWriter) -> None:
    items = writer.write_index()
    folder = PreparedFolder.open(writer.path)
    assert folder.header == HEADER
    assert folder.items == items
    assert [item.name for item in folder.items_of("train")] == ["b"]
    assert [item.name for item in folder.items_of("held_out")] == ["a"]
    video = folder.items_of("train")[0].videos[1]
    assert video == _video("b_cam02")
    torch.testing.assert_close(folder.latent(video), _latent(1).half().float(), rtol=0, atol=0)
    cameras = folder.cameras(video)
    assert cameras.num_frames == 3
    assert cameras.is_assumed


def test_padding_of_text_is_not_stored_and_comes_back(writer: PreparedWriter) -> None:
    writer.write_index()
    folder = PreparedFolder.open(writer.path)
    wanted = torch.zeros(5, 3)
    wanted[0], wanted[2] = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6])
    assert torch.equal(folder.text("a cat"), wanted)
    assert torch.equal(folder.text(""), torch.zeros(1, 3))
    stored = read_weights(text_path(writer.path, "a cat"))["tokens"]
    assert stored.shape == (3, 3)
    assert stored.dtype is torch.bfloat16
    # The name's digits are those of `printf "a cat" | sha256sum`.
    assert text_path(writer.path, "a cat").stem == "51e4674156077982"


def test_open_names_what_is_missing_and_the_command(writer: PreparedWriter) -> None:
    with pytest.raises(ValueError, match=r"got no .*index\.json; run `python -m memv2v_core\.tr"):
        PreparedFolder.open(writer.path)
    with pytest.raises(ValueError, match=r"got no .*nowhere; run"):
        PreparedFolder.open(writer.path / "nowhere")
    writer.write_index()
    writer.finish(PreparedItem("c", "train", (_video("c"),)))
    with pytest.raises(ValueError, match=r"got 2 items, wanted the 3 .* again, it joins them"):
        PreparedFolder.open(writer.path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"header": {}, "items": []}', "\xff"])
def test_a_broken_index_is_named(writer: PreparedWriter, text: str) -> None:
    (writer.path / "index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"index\.json is broken"):
        PreparedFolder.open(writer.path)


def test_files_that_fail_are_named(writer: PreparedWriter) -> None:
    writer.write_index()
    folder = PreparedFolder.open(writer.path)
    video = folder.items[0].videos[0]
    with pytest.raises(ValueError, match="got no text tokens of 'a dog'"):
        folder.text("a dog")
    path = writer.path / "view" / f"{video.name}.safetensors"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"a_cam01\.safetensors"):
        folder.latent(video)
    path.unlink()
    with pytest.raises(ValueError, match=r"a_cam01\.safetensors is not there"):
        folder.latent(video)
    with pytest.raises(ValueError, match="has no cameras"):
        folder.cameras(PreparedVideo("a", "source", SIZE, 9))


def test_values_that_fp16_cannot_hold_are_refused(writer: PreparedWriter) -> None:
    with pytest.raises(ValueError, match="the latent of x got NaN, infinity or values above 65504"):
        writer.write_latent(_video("x"), _latent(0) * 1e6)
    with pytest.raises(ValueError, match="the text tokens of 'x' got NaN"):
        writer.write_text("x", torch.full((2, 3), torch.nan))
    writer.write_index()
    assert not (writer.path / "view" / "x.safetensors").exists()


def test_a_broken_record_is_named(writer: PreparedWriter) -> None:
    (writer.path / "items" / "c.json").write_text(json.dumps({"name": "c"}))
    with pytest.raises(ValueError, match=r"c\.json is broken"):
        writer.write_index()


def test_names_are_safe_on_every_system() -> None:
    assert file_safe("f18_aperture10", "scene1", "cam01") == "f18_aperture10_scene1_cam01"
    assert file_safe("a b") != file_safe("a/b") != file_safe("a_b") == "a_b"
    for name in ("", "..", "con", "NUL.txt", "x" * 300, "\xe9\u4e2d", "a\nb"):
        safe = file_safe(name)
        assert safe.isascii()
        assert 8 < len(safe) < 140
        assert "/" not in safe
        assert not safe.startswith(".")
