"""A session that the version before hashes wrote: `session_without_hashes`.

Recipe: four turns of 5 frames with latents (4, 2, 6, 8) in bfloat16, normal numbers of the
generator seeded by the turn; turn 1 with a thumbnail of sevens, turn 2 with a source of ones and
pinned, turn 3 with a segment; turn 4 forgotten.
"""

import shutil
from pathlib import Path

import pytest
import torch

from memv2v_core.cache.entry import Segment
from memv2v_core.cache.entry_file import has_hashes
from memv2v_core.cache.manifest_file import read_manifest
from memv2v_core.cache.storage import load_session, save_session

HELD = Path(__file__).with_name("session_without_hashes")
IDS = (
    "4657b05e409dd985a63e0e14a96946b1",
    "ed8dc53e7b026012542aaec610ff1409",
    "0e231fdb9b433c2b8c4d0eea57cddde0",
)
FORGOTTEN = "e837d3465c66f6a9b9c53be3ee5c2593"


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HELD, tmp_path / "kitchen"))


def latent(turn: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(turn)
    torch.rand(5, generator=generator, dtype=torch.float64)
    return torch.randn(4, 2, 6, 8, generator=generator).to(torch.bfloat16)


def require_as_written(folder: Path) -> None:
    loaded = load_session(folder)
    assert (loaded.skipped, loaded.notices) == ((), ())
    first, second, third = loaded.cache.entries
    assert (first.entry_id, second.entry_id, third.entry_id) == IDS
    assert [entry.is_pinned for entry in loaded.cache.entries] == [False, True, False]
    assert all(torch.equal(e.latent, latent(e.turn)) for e in loaded.cache.entries)
    assert (first.prompt, first.seed, first.created_s) == ("turn 1", 1, 1700000001.0)
    assert torch.equal(first.thumbnail, torch.full((4, 6, 3), 7, dtype=torch.uint8))
    assert torch.equal(second.source_latent, torch.ones(4, 2, 6, 8))
    assert third.segment == Segment(2, 10, 5, 1)
    assert (third.memory_ids, third.recipe) == (("ab" * 16,), "how")
    assert torch.equal(third.source_descriptor, torch.arange(7.0))
    assert third.camera.num_frames == 5


def test_it_opens_as_it_was_written(kitchen: Path) -> None:
    require_as_written(kitchen)


def test_a_save_gives_it_hashes_and_changes_nothing_else(kitchen: Path) -> None:
    save_session(load_session(kitchen).cache, kitchen)
    require_as_written(kitchen)
    assert all(has_hashes(entry) for entry in load_session(kitchen).cache.entries)
    assert read_manifest(kitchen).manifest.forgotten == ((FORGOTTEN, 1700000004.0),)


def test_what_an_older_version_forgot_stays_forgotten(kitchen: Path, make_entry) -> None:
    cache = load_session(kitchen).cache
    save_session(cache.forget(IDS[0]), kitchen)
    forgotten = read_manifest(kitchen).manifest.forgotten
    assert [entry_id for entry_id, _ in forgotten] == [FORGOTTEN, IDS[0]]
    assert sorted(path.stem for path in kitchen.glob("*.safetensors")) == sorted(IDS[1:])
