"""The routes of the camera path editor on a real server: what they draw, what they refuse."""

import json
from typing import Any

import pytest
import torch
from instruments.own_routes import OwnRoutes
from instruments.sessions import save, turns

from memv2v_core.cameras.authored import PathSettings, authored_path
from memv2v_core.cameras.trajectory import lens_intrinsics, pose_vectors, static_trajectory
from memv2v_core.retrieval.selection import retrieve_by_fov
from memv2v_core.retrieval.video_fov import VideoFovConfig

KEYFRAMES = '{"keyframes":[{"time":0},{"time":1,"yaw_deg":-40,"pitch_deg":10,"dolly":0.2}]}'


@pytest.fixture
def own_routes(comfy_server) -> OwnRoutes:
    return OwnRoutes(comfy_server.url, comfy_server.base_dir / "output" / "memory_v2v")


def request(**changes: Any) -> dict[str, Any]:
    return {"settings": {"keyframes": KEYFRAMES}, "num_frames": 9, "fov_deg": 60, "aspect": 1.5} | (
        changes
    )


def expected(settings: PathSettings, num_frames: int) -> torch.Tensor:
    path = authored_path(settings, num_frames, lens_intrinsics(60.0, 1.5))
    return pose_vectors(path, static_trajectory(1))


def test_the_page_gets_the_very_poses_of_the_model(own_routes: OwnRoutes) -> None:
    answer = own_routes.post("path", request())
    assert answer.status == 200
    poses = torch.tensor(answer.content["poses"], dtype=torch.float32)
    assert torch.equal(poses, expected(PathSettings(keyframes=KEYFRAMES), 9))
    assert answer.content["frames"] == list(range(9))
    assert answer.content["keyframe_poses"] == [
        answer.content["poses"][0],
        answer.content["poses"][-1],
    ]
    assert answer.content["directions"][-1] == [-40.0, 10.0]
    assert len(answer.content["views"]) == 9
    assert answer.content["seen"]
    assert answer.content["moved"] == pytest.approx(0.2)
    assert answer.content["turned_deg"] == pytest.approx(41.1, abs=0.1)
    names = answer.content["number_names"]
    assert dict(zip(names, answer.content["numbers"][-1], strict=True)) == {
        **dict.fromkeys(names, 0.0),
        "yaw_deg": -40.0,
        "pitch_deg": 10.0,
        "dolly": 0.2,
    }
    assert answer.content["overlaps"] == []


def test_a_preset_comes_with_keyframes_that_make_it(own_routes: OwnRoutes) -> None:
    preset = {"motion": "sweep", "amplitude": 35, "easing": "ease_out", "speed": 1.5}
    found = own_routes.post("path", request(settings=preset, num_frames=81)).content
    poses = torch.tensor(found["poses"], dtype=torch.float32)
    assert torch.equal(poses, expected(PathSettings(**preset), 81))
    text = json.dumps(found["keyframes"])
    again = own_routes.post("path", request(settings={"keyframes": text}, num_frames=81)).content
    assert torch.allclose(torch.tensor(again["poses"]), poses, atol=1e-6)


def test_a_long_path_is_drawn_in_part(own_routes: OwnRoutes) -> None:
    found = own_routes.post("path", request(num_frames=2000)).content
    assert (found["num_frames"], len(found["frames"]), found["frames"][-1]) == (2000, 121, 1999)
    assert len(found["poses"]) == len(found["times"]) == len(found["views"]) == 121


@pytest.mark.parametrize("config", [{}, {"radius": 0.3}, {"balance": 1.0}, {"radius": 4.0}])
def test_turns_are_scored_as_a_retrieval_does(
    own_routes: OwnRoutes, config: dict[str, float]
) -> None:
    cache = turns(5)
    save(cache, own_routes.root, "paths_a")
    found = own_routes.post("path", request(session="paths_a", **config)).content["overlaps"]
    query = authored_path(PathSettings(keyframes=KEYFRAMES), 9, lens_intrinsics(60.0, 1.5))
    ranked = retrieve_by_fov(cache, query, 5, VideoFovConfig(**config)).ranked
    assert [(item["turn"], item["score"], item["contain"]) for item in found] == [
        (ranked.entry.turn, ranked.score, ranked.contain) for ranked in ranked
    ]


def test_outlines_of_turns_follow_the_session(own_routes: OwnRoutes) -> None:
    save(turns(2), own_routes.root, "paths_b")
    first = own_routes.get("path/turns?session=paths_b").content
    assert [turn["turn"] for turn in first["turns"]] == [1, 2]
    assert all(len(line) > 8 for turn in first["turns"] for line in turn["outline"])
    assert (first["num_older"], first["notes"]) == (0, [])
    save(turns(3), own_routes.root, "paths_b")
    assert len(own_routes.get("path/turns?session=paths_b").content["turns"]) == 3


def test_outlines_are_those_of_the_asked_radius(own_routes: OwnRoutes) -> None:
    # Turn 3 is an orbit.
    save(turns(3), own_routes.root, "paths_d")
    near, far, usual = (
        own_routes.get(f"path/turns?session=paths_d{radius}").content["turns"][2]["outline"]
        for radius in ("&radius=1", "&radius=100", "")
    )
    assert near == usual != far
    seen = [own_routes.post("path", request(radius=radius)).content["seen"] for radius in (1, 100)]
    assert seen[0] != seen[1]
    answer = own_routes.get("path/turns?session=paths_d&radius=near")
    assert (answer.status, answer.content["error"]) == (
        *(400, "radius got 'near', wanted a number in 0.001 to 1000; choose one in this range"),
    )


def test_only_the_newest_turns_are_listed(own_routes: OwnRoutes) -> None:
    save(turns(66), own_routes.root, "paths_c")
    found = own_routes.get("path/turns?session=paths_c").content
    assert (len(found["turns"]), found["num_older"]) == (64, 2)
    assert found["turns"][-1]["turn"] == 66


def test_an_empty_session_is_no_error(own_routes: OwnRoutes) -> None:
    assert own_routes.get("path/turns?session=none_yet").content["turns"] == []
    assert own_routes.post("path", request(session="none_yet")).content["overlaps"] == []
    assert not (own_routes.root / "none_yet").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": None}, "settings got no JSON object"),
        ({"settings": {"keyframes": "["}}, "keyframes got no JSON"),
        ({"settings": {"keyframes": 3}}, "keyframes got '3', wanted a text"),
        ({"settings": {"keyframes": " " * 70_000}}, "got 70000 characters, wanted at most 65536"),
        ({"settings": {"motion": "fly"}}, "motion got 'fly', wanted one of"),
        ({"settings": {"amplitude": "30"}}, "amplitude got '30', wanted a number"),
        ({"settings": {"amplitude": float("nan")}}, "amplitude got nan, wanted a number"),
        ({"settings": {"returns": 1}}, "returns got '1', wanted true or false"),
        ({"settings": {"orbit_distance": 1}}, "settings got 'orbit_distance', wanted only"),
        ({"num_frames": 0}, "num_frames got 0, wanted a number in 1 to 2000"),
        ({"num_frames": 10**9}, "num_frames got 1000000000, wanted a number in 1 to 2000"),
        ({"num_frames": 2.5}, "num_frames got 2.5, wanted a whole number"),
        ({"num_frames": True}, "num_frames got True, wanted a number"),
        ({"fov_deg": 180}, "fov_deg got 180, wanted a number in 0 to 170"),
        ({"aspect": 0}, "aspect got 0, wanted a number in 0.1 to 10"),
        ({"session": "../other"}, "session name got '../other'"),
        ({"session": ["a"]}, "session got no text"),
        ({"radius": 0}, "radius got 0, wanted a number in 0.001 to 1000"),
        ({"radius": None}, "radius got None, wanted a number"),
        ({"balance": 1.5}, "balance got 1.5, wanted a number in 0 to 1"),
    ],
)
def test_a_bad_request_gets_one_clear_error(
    own_routes: OwnRoutes, changes: dict[str, Any], message: str
) -> None:
    answer = own_routes.post("path", request(**changes))
    assert answer.status == 400
    assert message in answer.content["error"]


def test_other_pages_and_paths_are_refused(own_routes: OwnRoutes) -> None:
    assert own_routes.post("path", request(), Origin="http://elsewhere.example").status == 403
    assert own_routes.post("path", request(), Sec_Fetch_Site="cross-site").status == 403
    assert own_routes.post("path", request(), Content_Type="text/plain").status == 403
    assert own_routes.post("path", b"x" * (2**20 + 1)).status in (400, 413)
    assert own_routes.post("path", b"[" * 100_000).status == 400
    assert own_routes.get("path/turns?session=../../etc").status == 400
    assert own_routes.get("path/turns?session=").status == 400
    assert own_routes.get("path/turns?session=a", Origin="http://elsewhere.example").status == 403
