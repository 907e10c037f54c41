"""A turn that cannot be saved leaves the node, is kept beside, and finds its way back."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session

SETTINGS = {"steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}


@pytest.fixture
def run_turn(comfy_api, tiny_model, examples):
    """The whole output of MemoryV2VSampler for one turn."""
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    def run(seed: int = 5, **inputs):
        given = {
            "source": {"samples": examples.latent(0)},
            "target_camera": examples.path("pan_left"),
            **inputs,
        }
        return comfy_api.run_node(
            MemoryV2VSampler, model=tiny_model, seed=seed, **SETTINGS, **given
        )

    return run


@pytest.fixture
def turn(run_turn):
    """Latent and cache of one turn."""
    return lambda **inputs: run_turn(**inputs).args


@pytest.fixture
def full_disk(comfy_api, monkeypatch):
    """A function that makes every write into the session folders fail, or work again."""
    from memory_v2v.memv2v_core.cache import entry_file

    write = entry_file.write_atomically

    def fail(path: Path, data: bytes) -> None:
        if "memory_v2v_kept" not in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    def switch(is_full: bool) -> None:
        monkeypatch.setattr(entry_file, "write_atomically", fail if is_full else write)

    return switch


@pytest.fixture
def kept(comfy_api):
    """Where turns are kept: a folder that outlives a start of ComfyUI."""
    return Path(comfy_api.folder_paths.get_user_directory()) / "memory_v2v_kept"


def session_folder(comfy_api, name: str) -> Path:
    return Path(comfy_api.folder_paths.get_output_directory()) / "memory_v2v" / name


def files(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.safetensors"))


def test_a_turn_whose_save_fails_leaves_the_node_and_is_saved_later(
    comfy_api, turn, full_disk, kept, run_turn
) -> None:
    full_disk(True)
    output = run_turn(seed=1, cache=MemoryCache(session="full"))
    latent, cache = output.args
    entry = cache.newest
    assert torch.equal(latent["samples"][0], entry.latent)
    text = output.ui.as_dict()["text"][0]
    assert "NOT SAVED: session 'full' was not saved: the disk of" in text
    assert "free some space" in text
    assert f"is kept in {kept / 'full' / entry.entry_id}.safetensors" in text
    assert files(kept / "full") == [entry.entry_id]
    # The next turn of the same graph saves both, and drops the copy.
    full_disk(False)
    _, later = turn(seed=2, cache=cache)
    loaded = load_session(session_folder(comfy_api, "full"))
    assert [held.entry_id for held in loaded.cache.entries] == [
        held.entry_id for held in later.entries
    ]
    assert files(kept / "full") == []


def test_a_kept_turn_is_put_back_when_its_session_is_opened(
    comfy_api, turn, full_disk, kept
) -> None:
    from memory_v2v.nodes.cache import MemoryCacheNode

    full_disk(True)
    _, cache = turn(seed=3, cache=MemoryCache(session="tomorrow"))
    full_disk(False)
    # ComfyUI was started again: only the disk is left.
    opened, text = comfy_api.run_node(
        MemoryCacheNode, session="tomorrow", action="none", entry=""
    ).args
    assert [held.entry_id for held in opened.entries] == [cache.newest.entry_id]
    assert f"turn 1 ({cache.newest.entry_id[:8]}) was kept and is back" in text
    assert files(kept / "tomorrow") == []
    assert files(session_folder(comfy_api, "tomorrow")) == [cache.newest.entry_id]


def test_a_comparison_whose_save_fails_is_kept_and_put_back(
    comfy_api, turn, run_turn, examples, full_disk, kept
) -> None:
    from memory_v2v.nodes.cache import MemoryCacheNode
    from memv2v_core.retrieval.selection import RankedEntry, Retrieval
    from memv2v_core.tokens.budget import TokenPlan

    _, first = turn(seed=3, cache=MemoryCache(session="compared"))
    plan = TokenPlan(Retrieval(None, (RankedEntry(first.newest, 1.0),)), (4,))
    given = {"seed": 4, "cache": first, "plan": plan}
    # Where both saves fail the turn is kept, where the second one works nothing is said.
    full_disk(True)
    output = run_turn(**given, also_without_memory=True)
    assert "NOT SAVED" in output.ui.as_dict()["text"][0]
    full_disk(False)
    _, saved = turn(**given)
    assert not saved.newest.has_without_memory
    # A save keeps what is longer than the file, and the next opening puts it back.
    (longer,) = (entry for entry in output.args[1].entries if entry.has_without_memory)
    from memory_v2v.nodes.host.sessions.kept import keep

    keep(longer, "compared")
    opened, text = comfy_api.run_node(
        MemoryCacheNode, session="compared", action="none", entry=""
    ).args
    assert [entry.has_without_memory for entry in opened.entries] == [False, True]
    assert "was kept and is back" in text
    assert files(kept / "compared") == []
    on_disk = load_session(session_folder(comfy_api, "compared")).cache
    assert torch.equal(on_disk.newest.without_memory, longer.without_memory)


def test_forgetting_a_kept_turn_deletes_its_copy(comfy_api, turn, full_disk, kept) -> None:
    from memory_v2v.nodes.cache import MemoryCacheNode

    full_disk(True)
    _, cache = turn(seed=4, cache=MemoryCache(session="gone"))
    assert files(kept / "gone") == [cache.newest.entry_id]
    full_disk(False)
    comfy_api.run_node(
        MemoryCacheNode, session="", action="forget", entry=cache.newest.entry_id, cache=cache
    )
    assert files(kept / "gone") == []
    assert files(session_folder(comfy_api, "gone")) == []


def test_a_session_of_another_model_refuses_before_anything_is_sampled(
    comfy_api, turn, monkeypatch, examples
) -> None:
    import comfy.sample

    other = replace(examples.entry(1), model_name="another")
    save_session(MemoryCache().append(other), session_folder(comfy_api, "taken"))

    def sample(*_: object, **__: object) -> None:
        raise AssertionError("sampled")

    monkeypatch.setattr(comfy.sample, "sample", sample)
    reason = "session 'taken' on disk holds latents of model 'another', got one of"
    with pytest.raises(ValueError, match=reason):
        turn(cache=MemoryCache(session="taken"))


def test_a_workflow_says_when_it_opens_a_session_for_the_first_time(comfy_api, turn) -> None:
    from memory_v2v.nodes.host.sessions.first_use import first_use_notes

    class Hidden:
        def __init__(self, workflow: str) -> None:
            self.extra_pnginfo = {"workflow": {"id": workflow}}

    # The workflow that made the session knows it.
    assert first_use_notes("diary", Hidden("mine")) == ()
    turn(seed=5, cache=MemoryCache(session="diary"))
    assert first_use_notes("diary", Hidden("mine")) == ()
    # Another workflow names it: a note, once.
    (note,) = first_use_notes("diary", Hidden("a stranger's"))
    assert note.startswith("first use of session 'diary' by this workflow: it holds 1 turns")
    assert "Choose another session name" in note
    assert first_use_notes("diary", Hidden("a stranger's")) == ()
    # A prompt without an editor says so too.
    assert len(first_use_notes("diary", None)) == 1


def test_a_refused_name_is_written_down_nowhere(comfy_api) -> None:
    from memory_v2v.nodes.host.sessions import first_use

    with pytest.raises(ValueError, match="session name got"):
        first_use.first_use_notes("../../x", None)
    assert not first_use._file().exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"diary": 7}', "[" * 50_000])
def test_a_broken_list_of_used_sessions_stops_nothing(comfy_api, turn, content) -> None:
    from memory_v2v.nodes.host.sessions import first_use

    path = first_use._file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    turn(seed=6, cache=MemoryCache(session="diary2"))
    assert len(first_use.first_use_notes("diary2", None)) == 1
    assert json.loads(path.read_text())["diary2"] == ["no workflow"]
