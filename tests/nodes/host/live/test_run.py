"""LiveRun: what the page is told while a node runs."""

from base64 import b64decode
from io import BytesIO
from typing import Any

import pytest
import torch
from PIL import Image

STEPS = 3


@pytest.fixture
def told(comfy_api, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every event that was sent, in order."""
    from memory_v2v.nodes.host.live import run

    events: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(run, "tell_page", lambda event, content: events.append((event, content)))
    return events


@pytest.fixture
def live(told, tiny_model):
    """A run of three turns of a node inside a subgraph."""
    from comfy_api.latest import io

    from memory_v2v.nodes.host.live.run import LiveRun

    hidden = io.HiddenHolder(
        unique_id="5:3",
        prompt=None,
        extra_pnginfo={"workflow": {"id": "a-workflow"}},
        dynprompt=None,
        auth_token_comfy_org=None,
        api_key_comfy_org=None,
    )
    return LiveRun(hidden, tiny_model, total=3)


def sample(live, latent: torch.Tensor) -> None:
    for step in range(STEPS):
        live.callback(step, latent, latent, STEPS)


def frames(num_frames: int = 5) -> torch.Tensor:
    moving = torch.linspace(0, 1, 40).expand(3, 20, 40)
    return torch.stack([moving.roll(4 * i, -1) for i in range(num_frames)])


def test_a_piece_that_is_made_once_more_adds_no_tile(live, told, examples, monkeypatch) -> None:
    from memory_v2v.nodes.host.live.pace import Pace

    # Its time begins anew, as each piece's does.
    began, start = [], Pace.start
    monkeypatch.setattr(Pace, "start", lambda pace: (began.append(pace), start(pace)))
    with live:
        for number in (1, 2, 3):
            live.started(number)
            sample(live, examples.latent(0))
            live.finished(number, "new", latent=examples.latent(0)[0])
        live.compares(2)
        begun = told[-1][1]
        sample(live, examples.latent(0))
    assert (begun["number"], begun["is_comparison"], begun["step"]) == (2, True, 0)
    assert (begun["num_finished"], begun["sees"]) == (3, ())
    assert len(began) == 4
    last = told[-1][1]
    assert (last["state"], last["num_finished"], last["steps"]) == ("done", 3, STEPS)
    assert [content["tile"]["number"] for _, content in told if "tile" in content] == [1, 2, 3]


def test_a_piece_can_be_played_before_the_next_one_begins(live, told, examples) -> None:
    import av
    import folder_paths

    with live:
        live.started(1)
        sample(live, examples.latent(0))
        live.finished(1, "new", frames=frames(), frame_rate=16)
        after_first = len(told)
        live.started(2, sees=(1,))

    tile = told[after_first - 1][1]["tile"]
    assert (tile["number"], tile["outcome"], tile["has_loop"]) == (1, "new", True)
    with av.open(f"{folder_paths.get_temp_directory()}/{tile['piece']}") as played:
        (video,) = played.streams.video
        assert (video.frames, video.average_rate) == (5, 16)
        assert (video.width, video.height) == (40, 20)
    assert told[after_first][1]["number"] == 2
    assert told[after_first][1]["sees"] == (1,)


def test_a_preview_moves_and_names_its_node(live, told, examples) -> None:
    with live:
        live.started(1)
        sample(live, examples.latent(0))
        live.finished(1, "new", latent=examples.latent(0)[0])

    (preview,) = [content for event, content in told if event == "memory_v2v.preview"]
    picture = Image.open(BytesIO(b64decode(preview["picture"])))
    assert (picture.format, picture.n_frames, picture.size) == ("WEBP", 3, (16, 16))
    assert (preview["workflow"], preview["node"], preview["number"]) == ("a-workflow", "5:3", 1)


def test_a_page_that_is_loaded_again_gets_the_tiles_so_far(live, examples) -> None:
    from memory_v2v.nodes.host.live.states import LIVE

    with live:
        live.finished(1, "kept", latent=examples.latent(0)[0])
        live.started(2)
        (held,) = [run for run in LIVE.all() if run["node"] == "5:3"]

    assert (held["state"], held["number"], held["total"]) == ("running", 2, 3)
    assert [(tile["number"], tile["outcome"]) for tile in held["tiles"]] == [(1, "kept")]
    loop = Image.open(BytesIO(LIVE.loop(held["run"], 1)))
    assert loop.is_animated
    with pytest.raises(FileNotFoundError, match="number 2"):
        LIVE.loop(held["run"], 2)


def test_a_stopped_run_says_how_many_pieces_are_finished(live, told, examples) -> None:
    from comfy.model_management import InterruptProcessingException

    def run() -> None:
        with live:
            live.finished(1, "new", latent=examples.latent(0)[0])
            live.started(2)
            raise InterruptProcessingException

    with pytest.raises(InterruptProcessingException):
        run()

    assert told[-1][1]["state"] == "stopped"
    assert (told[-1][1]["num_finished"], told[-1][1]["total"]) == (1, 3)


def test_a_new_run_deletes_the_pieces_of_the_last_one(live, examples) -> None:
    from dataclasses import replace
    from pathlib import Path

    import folder_paths

    folder = Path(folder_paths.get_temp_directory())
    before = set(folder.glob("memory_v2v_piece_*"))
    with live:
        live.finished(1, "new", frames=frames())
    made = set(folder.glob("memory_v2v_piece_*")) - before
    assert len(made) == 1
    with replace(live):
        assert not made & set(folder.glob("memory_v2v_piece_*"))


def test_what_cannot_be_drawn_stops_no_run(live, told, caplog) -> None:
    with live:
        live.started(1)
        live.callback(0, torch.zeros(1, 2, 3, 4, 4), torch.zeros(1), STEPS)
        live.finished(1, "new", frames=torch.zeros(0, 3, 8, 8))

    assert told[-1][1]["state"] == "done"
    assert "no preview" in caplog.text
    assert "turn 1 has no picture" in caplog.text
    assert told[-2][1]["tile"]["piece"] is None


def test_without_a_page_a_run_goes_on(comfy_api, tiny_model, examples) -> None:
    from memory_v2v.nodes.host.live.run import LiveRun

    with LiveRun(None, tiny_model) as live:
        live.started(1)
        sample(live, examples.latent(0))
        live.finished(1, "new", latent=examples.latent(0)[0])
