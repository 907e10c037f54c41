import hashlib
import struct
from dataclasses import replace

import pytest
import torch

from memv2v_core.cache.entry import is_entry_id
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.trajectory import static_trajectory


def test_same_latent_and_camera_give_same_id(make_entry):
    assert (
        make_entry(1).entry_id
        == make_entry(1, prompt="other", is_pinned=True, created_s=7.0).entry_id
    )
    assert is_entry_id(make_entry(1).entry_id)


def test_id_is_stable_over_versions(make_entry):
    def part(name: str, numbers: list[float]) -> bytes:
        return name.encode() + struct.pack(f"<{len(numbers)}d", *numbers)

    data = b"torch.float32 (1, 1, 1, 1);" + bytes(4)
    data += part("torch.float64 (1, 4, 4);", [float(i % 5 == 0) for i in range(16)])
    data += part("torch.float64 (1, 3, 3);", [float(i % 4 == 0) for i in range(9)])
    assert hashlib.sha256(data).hexdigest()[:32] == "ad32ce0b9ef4a1ec4231cc3f56bd1f5b"
    entry = make_entry(
        1, latent=torch.zeros(1, 1, 1, 1), camera=static_trajectory(1, torch.eye(3)), num_frames=1
    )
    assert entry.entry_id == "ad32ce0b9ef4a1ec4231cc3f56bd1f5b"


@pytest.mark.parametrize("change", ["latent", "dtype", "shape", "camera"])
def test_other_content_gives_other_id(make_entry, change):
    entry = make_entry(1)
    fields = {
        "latent": {"latent": entry.latent + 1e-6},
        "dtype": {"latent": entry.latent.to(torch.bfloat16)},
        "shape": {"latent": entry.latent.reshape(4, 2, 8, 6)},
        "camera": {"camera": static_trajectory(5)},
    }[change]
    assert make_entry(1, **fields).entry_id != entry.entry_id


def test_slice_of_a_batch_is_copied(make_entry):
    batch = torch.randn(3, 4, 2, 6, 8)
    entry = make_entry(1, latent=batch[1])
    assert entry.latent.untyped_storage().nbytes() == batch[1].numel() * 4
    batch.zero_()
    assert entry.latent.abs().sum() > 0


def test_whole_tensor_is_shared(make_entry):
    latent = torch.randn(4, 2, 6, 8)
    assert make_entry(1, latent=latent).latent.data_ptr() == latent.data_ptr()


def test_latent_shape_leaves_out_time(make_entry):
    assert make_entry(1).latent_shape == (4, 6, 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"latent": torch.zeros(1, 4, 2, 6, 8)},
            r"latent got shape \(1, 4, 2, 6, 8\), wanted \(C, T, H, W\)",
        ),
        (
            {"latent": torch.zeros(4, 2, 6, 8, dtype=torch.int32)},
            "latent got dtype torch.int32, wanted float32",
        ),
        ({"source_latent": torch.zeros(4, 6, 8)}, r"source_latent got shape \(4, 6, 8\)"),
        (
            {"source_descriptor": torch.zeros(3, dtype=torch.long)},
            "source_descriptor got dtype torch.int64",
        ),
        (
            {"thumbnail": torch.zeros(4, 4, 3)},
            r"thumbnail got torch.float32 of shape \(4, 4, 3\), wanted uint8",
        ),
        (
            {"loop": torch.zeros(0, dtype=torch.uint8)},
            r"loop got torch.uint8 of shape \(0,\), wanted 1 to 4194304 bytes",
        ),
        (
            {"memory_ids": ("1" * 32,), "memory_kernels": (4, 8)},
            "memory_kernels got 2 numbers, wanted one for each of the 1 memories",
        ),
        ({"mode": "magic"}, "mode got 'magic', wanted one of trained"),
        ({"turn": 0}, "turn got 0, wanted 1 or more"),
        ({"num_frames": 6}, "num_frames got 6, wanted 1 to 5"),
        ({"num_frames": 0}, "num_frames got 0, wanted 1 to 5"),
    ],
)
def test_wrong_field_is_refused(make_entry, fields, message):
    with pytest.raises(ValueError, match=message):
        make_entry(1, **fields)


@pytest.mark.parametrize("name", ["latent", "source_latent", "source_descriptor"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(make_entry, name, value):
    bad = torch.zeros(4, 2, 6, 8, dtype=torch.bfloat16)
    bad[0, 0, 0, :3] = value
    with pytest.raises(
        ValueError, match=f"^{name} of turn 2 got NaN or infinity in 3 of 384 numbers"
    ):
        MemoryCache().append(make_entry(2, **{name: bad}))


def test_the_true_camera_is_that_of_the_frames_before_the_padding(make_entry):
    times = torch.arange(5, dtype=torch.float64) * 2
    camera = replace(static_trajectory(5, is_assumed=True), times=times)
    padded = make_entry(1, camera=camera, num_frames=3)
    assert padded.true_camera.num_frames == 3
    assert padded.true_camera.times.tolist() == [0.0, 2.0, 4.0]
    assert padded.true_camera.is_assumed
    assert padded.true_camera.c2w.data_ptr() == camera.c2w.data_ptr(), "no second copy"
    whole = make_entry(1, camera=camera, num_frames=5)
    assert whole.true_camera is whole.camera
