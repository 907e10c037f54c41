"""The Memory Bank's routes on a real server: what they show, what they change, what they refuse."""

import hashlib
from pathlib import Path

import pytest
from instruments.own_routes import OwnRoutes
from instruments.sessions import save, segment_entry, segments, turn_entry, turns

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session

NO_ID = "0" * 32


class Bank(OwnRoutes):
    """The routes of one server, and the cards that they give."""

    def cards(self, session: str) -> list[dict]:
        return self.get(f"sessions/{session}").content["cards"]


@pytest.fixture
def bank(comfy_server) -> Bank:
    return Bank(comfy_server.url, comfy_server.base_dir / "output" / "memory_v2v")


def entries(folder: Path) -> tuple[MemoryEntry, ...]:
    return load_session(folder).cache.entries


def test_sessions_are_listed_with_turns_time_and_model(bank: Bank) -> None:
    save(turns(2), bank.root, "list_a")
    save(segments(3), bank.root, "list_b")
    listed = {item["name"]: item for item in bank.get("sessions").content["sessions"]}
    assert listed["list_a"] == {
        "name": "list_a",
        "num_turns": 2,
        "newest_s": 1.7e9 + 2,
        "model_name": "built-in: tiny",
        "problem": "",
    }
    assert listed["list_b"]["num_turns"] == 3


def test_cards_say_what_each_segment_is_and_who_saw_it(bank: Bank) -> None:
    save(segments(4), bank.root, "cards_a")
    found = bank.get("sessions/cards_a").content
    assert (found["exists"], found["model"], found["notes"]) == (True, "built-in: tiny", [])
    first, second, third, fourth = found["cards"]
    assert [card["segment"] for card in found["cards"]] == [1, 2, 3, 4]
    assert (second["frames"], second["shot"], second["seed"]) == ([10, 18], 1, "2")
    assert (second["prompt"], second["mode"]) == ("put a red hat on the box", "trained")
    assert (second["pinned"], second["stale"], second["picture"]) == (False, False, "loop")
    assert (second["camera"], fourth["is_newest"], third["is_newest"]) == (None, True, False)
    assert first["seen_by"] == [
        {"number": 4, "kernel": 4},
        {"number": 3, "kernel": 4},
        {"number": 2, "kernel": 2},
    ]
    assert third["seen_by"] == [{"number": 4, "kernel": 2}]
    assert fourth["seen_by"] == []


def test_cards_say_which_loop_makes_them_again_and_by_which_seed(bank: Bank) -> None:
    cards = (
        turn_entry(1),
        turn_entry(2, recipe="re-shoot a"),
        turn_entry(3, recipe=f"re-shoot a redo {2**64 - 1}"),
        segment_entry(4),
        segment_entry(5, recipe="b redo 7"),
    )
    save(MemoryCache("built-in: tiny", cards), bank.root, "cards_units")
    assert [(card["unit"], card["redo_seed"]) for card in bank.cards("cards_units")] == [
        (None, None),
        ("turn", None),
        ("turn", "18446744073709551615"),
        ("segment", None),
        ("segment", "7"),
    ]


def test_cards_of_turns_have_their_camera_in_numbers(bank: Bank) -> None:
    save(turns(3), bank.root, "cards_b")
    right, up, orbit = (card["camera"] for card in bank.cards("cards_b"))
    assert (right["pan_deg"], up["tilt_deg"]) == (20.0, 20.0)
    assert (orbit["pan_deg"], orbit["right"]) == (20.0, -0.342)


def test_cameras_of_a_large_session_come_bit_by_bit(bank: Bank) -> None:
    save(turns(400), bank.root, "cards_c")
    for _ in range(60):
        answer = bank.get("sessions/cards_c")
        waiting = [card["camera_waits"] for card in answer.content["cards"]]
        assert all(
            (card["camera"] is None) == card["camera_waits"] for card in answer.content["cards"]
        )
        # What is not whole is not kept.
        assert ("ETag" in answer.headers) == (not any(waiting))
        # The first cards, which a page shows first, come first.
        assert waiting == sorted(waiting)
        if not any(waiting):
            break
    assert not any(waiting)


def test_an_unchanged_session_is_not_sent_again(bank: Bank) -> None:
    folder = save(turns(2), bank.root, "tags")
    tag = bank.get("sessions/tags").headers["ETag"]
    again = bank.get("sessions/tags", If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    save_session(load_session(folder).cache.append(turn_entry(3)), folder)
    assert len(bank.get("sessions/tags", If_None_Match=tag).content["cards"]) == 3


def test_a_name_without_a_session_has_no_cards(bank: Bank) -> None:
    found = bank.get("sessions/nothing_here").content
    assert (found["exists"], found["cards"], found["notes"]) == (False, [], [])
    assert not (bank.root / "nothing_here").exists()


def test_a_thumbnail_is_the_loop_or_the_still_and_is_kept_for_ever(bank: Bank) -> None:
    still_alone = turn_entry(2, loop=None)
    bare = turn_entry(3, loop=None, thumbnail=None)
    save(MemoryCache("built-in: tiny", (turn_entry(1), still_alone, bare)), bank.root, "pictures")
    kinds = [card["picture"] for card in bank.cards("pictures")]
    assert kinds == ["loop", "thumbnail", None]
    first, second, third = (card["id"] for card in bank.cards("pictures"))
    moving = bank.get(f"sessions/pictures/{first}/picture")
    assert (moving.headers["Content-Type"], moving.body[8:12]) == ("image/webp", b"WEBP")
    assert "immutable" in moving.headers["Cache-Control"]
    for picture in (f"{first}/picture?still", f"{second}/picture"):
        still = bank.get(f"sessions/pictures/{picture}")
        assert (still.headers["Content-Type"], still.body[1:4]) == ("image/png", b"PNG")
    missing = bank.get(f"sessions/pictures/{third}/picture")
    assert (missing.status, "has no picture" in missing.content["error"]) == (404, True)
    gone = bank.get(f"sessions/pictures/{NO_ID}/picture")
    assert (gone.status, "it is gone" in gone.content["error"]) == (404, True)


def test_pin_and_unpin_are_on_disk_at_once(bank: Bank) -> None:
    folder = save(segments(3), bank.root, "pins_of_the_page")
    second = bank.cards("pins_of_the_page")[1]["id"]
    assert (
        bank.post("sessions/pins_of_the_page/pin", {"entry": second, "pinned": True}).status == 200
    )
    assert [entry.is_pinned for entry in entries(folder)] == [False, True, False]
    assert [card["pinned"] for card in bank.cards("pins_of_the_page")] == [False, True, False]
    assert (
        bank.post("sessions/pins_of_the_page/pin", {"entry": second, "pinned": False}).status == 200
    )
    assert not any(entry.is_pinned for entry in entries(folder))


def test_forget_removes_the_file_and_marks_what_saw_it(bank: Bank) -> None:
    folder = save(segments(4), bank.root, "forgets")
    second = bank.cards("forgets")[1]["id"]
    assert bank.post("sessions/forgets/forget", {"entry": second}).content == {"notes": []}
    assert not (folder / f"{second}.safetensors").exists()
    # Segment 3 saw segment 2, and segment 4 saw segment 3.
    assert [card["stale"] for card in bank.cards("forgets")] == [False, True, True]
    again = bank.post("sessions/forgets/forget", {"entry": second})
    assert (again.status, "is not in the cache" in again.content["error"]) == (400, True)


@pytest.mark.parametrize("number", [2, 4])
def test_a_running_node_brings_no_forgotten_turn_back(bank: Bank, number: int) -> None:
    """It holds the cache from before, and saves one more turn into the session."""
    name = f"older_{number}"
    folder = save(segments(4), bank.root, name)
    held = load_session(folder).cache
    forgotten = held.entries[number - 1].entry_id
    assert bank.post(f"sessions/{name}/forget", {"entry": forgotten}).status == 200
    saved = save_session(held.append(turn_entry(5)), folder)
    assert f"turn {number} ({forgotten[:8]}) was forgotten" in saved.notices[0]
    left = [i for i in (1, 2, 3, 4, 5) if i != number]
    assert [entry.turn for entry in saved.cache.entries] == left
    assert [card["turn"] for card in bank.cards(name)] == left


def test_a_running_node_keeps_a_pin_of_the_bank(bank: Bank) -> None:
    folder = save(segments(3), bank.root, "older_pins")
    held = load_session(folder).cache
    first = held.entries[0].entry_id
    assert bank.post("sessions/older_pins/pin", {"entry": first, "pinned": True}).status == 200
    save_session(held.append(turn_entry(4)), folder)
    assert [card["pinned"] for card in bank.cards("older_pins")] == [True, False, False, False]


def test_a_branch_is_a_session_of_its_own(bank: Bank) -> None:
    folder = save(segments(4), bank.root, "trunk_of_the_page")
    second = bank.cards("trunk_of_the_page")[1]["id"]
    before = sorted(path.name for path in folder.iterdir())
    request = {"entry": second, "name": "twig_of_the_page"}
    assert bank.post("sessions/trunk_of_the_page/branch", request).content == {"notes": []}
    assert [card["turn"] for card in bank.cards("twig_of_the_page")] == [1, 2]
    assert sorted(path.name for path in folder.iterdir()) == before
    again = bank.post("sessions/trunk_of_the_page/branch", request)
    assert again.status == 400
    assert (
        "session 'twig_of_the_page' holds turns already, wanted a new name"
        in again.content["error"]
    )


def test_a_name_is_refused_with_the_reason_of_the_nodes(bank: Bank) -> None:
    assert bank.get("session_name?name=kitchen_01").content == {"refused": None}
    refused = bank.get("session_name?name=a%2Fb").content["refused"]
    assert refused.startswith("session name got 'a/b', wanted 1 to 64 of the letters")


# Hostile requests


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Origin": "http://evil.example"}, "came from http://evil.example"),
        ({"Sec_Fetch_Site": "cross-site"}, "came from another site"),
        ({"Content_Type": "application/x-www-form-urlencoded"}, "is of type application/x-www"),
        ({"Content_Type": "text/plain"}, "is of type text/plain"),
    ],
)
def test_requests_of_other_pages_change_nothing(bank: Bank, headers, reason) -> None:
    folder = save(segments(2), bank.root, "guarded")
    first = entries(folder)[0].entry_id
    answer = bank.post("sessions/guarded/forget", {"entry": first}, **headers)
    assert answer.status == 403
    # ComfyUI itself refuses some of them before the pack is asked.
    assert not answer.body or reason in answer.content["error"]
    assert len(entries(folder)) == 2


def test_other_pages_read_nothing(bank: Bank) -> None:
    save(segments(1), bank.root, "guarded_reading")
    for path in ("sessions", "sessions/guarded_reading", "session_name?name=a"):
        assert bank.get(path, Sec_Fetch_Site="cross-site").status == 403


@pytest.mark.parametrize(
    "name", ["..%2Fother", "%2Fetc", "..", "a%5Cb", "con", "x%00", ".hidden", "a" * 65]
)
def test_a_path_is_no_name(bank: Bank, name: str) -> None:
    # ".." is resolved by the client or the server, so it reaches another address.
    assert bank.get(f"sessions/{name}").status in ((400, 404) if name == ".." else (400,))
    for action in ("pin", "forget", "branch"):
        request = {"entry": NO_ID, "pinned": True, "name": "fine"}
        assert bank.post(f"sessions/{name}/{action}", request).status in (400, 404, 405)
    assert bank.get(f"sessions/{name}/{NO_ID}/picture").status in (400, 404)


@pytest.mark.parametrize(
    ("action", "content", "reason"),
    [
        ("forget", {}, "entry got no id of an entry, wanted 32 hex digits"),
        ("forget", {"entry": "../../x"}, "entry got no id"),
        ("forget", {"entry": ["0" * 32]}, "entry got no id"),
        ("forget", {"entry": "a"}, "entry got no id"),
        ("forget", {"entry": NO_ID}, "is not in the cache of session 'strict'"),
        ("pin", {"entry": NO_ID, "pinned": 1}, "pinned got no boolean"),
        ("branch", {"entry": NO_ID, "name": "../x"}, "session name got '../x'"),
        ("branch", {"entry": NO_ID, "name": 7}, "name got no text"),
        ("branch", {"entry": NO_ID, "name": ""}, "the branch got no name"),
        ("forget", [NO_ID], "the request got a list, wanted a JSON object"),
        ("forget", b"{", "the request is no JSON"),
        ("forget", b"[" * 100_000, "the request is no JSON"),
        ("forget", b" " * 2 * 2**20 + b"{}", "wanted at most 1048576"),
    ],
)
def test_a_malformed_request_gets_one_sentence(bank: Bank, action, content, reason) -> None:
    folder = save(segments(2), bank.root, "strict")
    answer = bank.post(f"sessions/strict/{action}", content)
    assert (answer.status, reason in answer.content["error"]) == (400, True)
    assert len(entries(folder)) == 2
    assert not (bank.root.parent / "x").exists()


def test_a_full_session_folder_of_a_newer_pack_is_named(bank: Bank) -> None:
    folder = save(segments(1), bank.root, "newer")
    body = b'"version":9,"session":"newer","entries":[],"forgotten":[]}\n'
    first = b'{"format":"memory_v2v_session","sha256":"%s",\n'
    digest = hashlib.sha256(body).hexdigest().encode()
    (folder / "session.json").write_bytes(first % digest + body)
    answer = bank.get("sessions/newer")
    assert (answer.status, "update the node pack" in answer.content["error"]) == (400, True)
    listed = {item["name"]: item for item in bank.get("sessions").content["sessions"]}
    assert "update the node pack" in listed["newer"]["problem"]
