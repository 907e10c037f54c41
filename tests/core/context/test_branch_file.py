"""Files of context branches."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from memv2v_core.context.branch_file import BRANCH_FORMAT, BranchRecord, read_branch, save_branch
from memv2v_core.weights.weight_files import read_header, read_weights, write_safetensors

RECORD = BranchRecord("a base", "rendered scenes", 20, "the branch alone")


@pytest.mark.parametrize("has_own", [False, True])
def test_a_branch_comes_back_as_it_was_saved(make_branch: Callable, tmp_path: Path, has_own: bool):
    branch, path = make_branch(has_own_attention=has_own), tmp_path / "branch.safetensors"
    save_branch(path, branch, RECORD)
    again, record = read_branch(path)
    assert (again.config, record) == (branch.config, RECORD)
    wanted, found = branch.state_dict(), again.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    tokens = torch.randn(1, 4, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.embed(tokens), branch.embed(tokens))
    assert read_header(path).metadata["format"] == BRANCH_FORMAT


def test_half_precision_comes_back_rounded(make_branch: Callable, tmp_path: Path):
    branch, path = make_branch(), tmp_path / "branch.safetensors"
    save_branch(path, branch, RECORD, torch.bfloat16)
    again, _ = read_branch(path)
    for name, wanted in branch.state_dict().items():
        assert torch.equal(again.state_dict()[name], wanted.bfloat16().float())


def _changed(path: Path, **metadata: str) -> None:
    header = read_header(path)
    weights = {name: each.clone() for name, each in read_weights(path).items()}
    write_safetensors(path, weights, {**header.metadata, **metadata})


def test_broken_files_are_named(make_branch: Callable, tmp_path: Path):
    path = tmp_path / "branch.safetensors"
    branch = make_branch()
    save_branch(path, branch, RECORD)
    _changed(path, format="memory-v2v-adapter-2")
    with pytest.raises(ValueError, match="got the format 'memory-v2v-adapter-2', wanted a whole"):
        read_branch(path)
    save_branch(path, branch, RECORD)
    _changed(path, config="{}")
    with pytest.raises(ValueError, match="lacks the setting 'encoder'"):
        read_branch(path)
    save_branch(path, branch, RECORD)
    _changed(path, config=read_header(path).metadata["config"].replace(": 96", ": 128"))
    with pytest.raises(ValueError, match="which must be"):
        read_branch(path)
    state = {**branch.state_dict(), "blocks.0.gate": torch.full((96,), torch.nan)}
    save_branch(path, branch, RECORD)
    write_safetensors(path, state, read_header(path).metadata)
    with pytest.raises(ValueError, match="NaN or infinite"):
        read_branch(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"branch\.safetensors"):
        read_branch(path)


def test_a_record_that_nobody_could_read_is_not_written(make_branch: Callable, tmp_path: Path):
    path = tmp_path / "branch.safetensors"
    with pytest.raises(ValueError, match="for the setting 'steps'"):
        save_branch(path, make_branch(), BranchRecord("a base", "scenes", 0, "all"))
    assert not path.exists()
