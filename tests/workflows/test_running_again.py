"""Running one graph again on a real server: what nothing changed stays; the rest is replaced."""

import pytest
from instruments.session_prompts import Graph, Prompt, saved

WORKFLOW = "6a1f0c9e-8f0e-4c4e-9d7a-2f9d0a3c7b11"


@pytest.fixture(scope="module")
def graph(comfy_server) -> Graph:
    return Graph(comfy_server.api.object_info())


def three_turns(graph: Graph, session: str, last_seed: int = 23, **first: object) -> Prompt:
    """Three turns in a chain, each with its own retrieval; `first` changes the first sampler."""
    prompt = graph.turn(graph.base(session), 1, ("session", 0), seed=21)
    prompt = graph.turn(prompt, 2, ("turn1", 1), seed=22)
    prompt = graph.turn(prompt, 3, ("turn2", 1), seed=last_seed)
    prompt["turn1"]["inputs"].update(first)
    return prompt


def facts(server, session: str) -> list[tuple[int, str]]:
    return [(entry.turn, entry.entry_id) for entry in saved(server, session).entries]


def test_an_unchanged_run_makes_nothing_and_no_turn_sees_itself(comfy_server, graph: Graph) -> None:
    prompt = three_turns(graph, "run_again")
    comfy_server.api.run(prompt, workflow_id=WORKFLOW)
    before = facts(comfy_server, "run_again")
    assert [turn for turn, _ in before] == [1, 2, 3]
    again = comfy_server.api.run(prompt, workflow_id=WORKFLOW)
    assert facts(comfy_server, "run_again") == before
    assert saved(comfy_server, "run_again").entries[0].memory_ids == ()
    text = again["outputs"]["turn3"]["text"][0]
    assert "kept: nothing that decides this turn has changed" in text
    assert "turn 3 is " in text
    # The second run wrote nothing, so the third one finds everything in ComfyUI's cache.
    third = comfy_server.api.run(prompt, workflow_id=WORKFLOW)
    cached = next(data for event, data in third["status"]["messages"] if event.endswith("cached"))
    assert {"turn1", "turn2", "turn3"} <= set(cached["nodes"])


def test_a_kept_turn_is_made_once_more_without_memory_alone(comfy_server, graph: Graph) -> None:
    comfy_server.api.run(three_turns(graph, "compared"), workflow_id=WORKFLOW)
    before = facts(comfy_server, "compared")
    prompt = three_turns(graph, "compared")
    prompt["turn2"]["inputs"]["also_without_memory"] = True
    prompt["compare"] = graph.node(
        "MemV2VCompareTurns",
        cache=["turn3", 1],
        vae=["load", 2],
        first_turn=1,
        second="without memory",
        second_turn=2,
        all_pairs=False,
    )
    outputs = comfy_server.api.run(prompt, workflow_id=WORKFLOW)["outputs"]
    assert facts(comfy_server, "compared") == before
    held = [entry.has_without_memory for entry in saved(comfy_server, "compared").entries]
    assert held == [False, True, False]
    text = outputs["turn2"]["text"][0]
    assert "kept: nothing that decides this turn has changed" in text
    assert "also made without memory" in text
    assert "kept" in outputs["turn3"]["text"][0]
    assert outputs["compare"]["text"][0].startswith("turn 1 and turn 2 without memory ")


def test_a_changed_turn_replaces_itself_and_what_saw_it(comfy_server, graph: Graph) -> None:
    comfy_server.api.run(three_turns(graph, "changed"), workflow_id=WORKFLOW)
    old = facts(comfy_server, "changed")
    comfy_server.api.run(three_turns(graph, "changed", last_seed=99), workflow_id=WORKFLOW)
    new = facts(comfy_server, "changed")
    assert [turn for turn, _ in new] == [1, 2, 3]
    assert new[:2] == old[:2]
    assert new[2] != old[2]
    comfy_server.api.run(three_turns(graph, "changed", seed=77), workflow_id=WORKFLOW)
    newest = saved(comfy_server, "changed")
    assert sorted(entry.turn for entry in newest.entries) == [1, 2, 3]
    ids = {entry.entry_id for entry in newest.entries}
    assert ids.isdisjoint(entry_id for _, entry_id in new)
    assert all(ids.issuperset(entry.memory_ids) for entry in newest.entries)


def test_a_new_take_adds_turns(comfy_server, graph: Graph) -> None:
    prompt = three_turns(graph, "takes")
    for turn in (1, 2, 3):
        prompt[f"turn{turn}"]["inputs"]["take"] = "new take"
    comfy_server.api.run(prompt, workflow_id=WORKFLOW)
    comfy_server.api.run(prompt, workflow_id=WORKFLOW)
    takes = saved(comfy_server, "takes").entries
    assert [entry.turn for entry in takes] == [1, 2, 3, 4, 5, 6]
    assert {entry.entry_id for entry in takes[:3]} >= set(takes[3].memory_ids) != set()


def test_another_workflow_continues_the_session(comfy_server, graph: Graph) -> None:
    comfy_server.api.run(three_turns(graph, "two_workflows"), workflow_id=WORKFLOW)
    old = facts(comfy_server, "two_workflows")
    comfy_server.api.run(three_turns(graph, "two_workflows"), workflow_id="another")
    assert facts(comfy_server, "two_workflows")[:3] == old
    assert [turn for turn, _ in facts(comfy_server, "two_workflows")] == [1, 2, 3, 4, 5, 6]


def test_requests_of_no_workflow_add_turns_as_before(comfy_server, graph: Graph) -> None:
    prompt = graph.turn(graph.base("script"), 1, ("session", 0), seed=31)
    comfy_server.api.run(prompt)
    prompt["turn1"]["inputs"]["seed"] = 32
    comfy_server.api.run(prompt)
    first, second = saved(comfy_server, "script").entries
    assert (first.turn, second.turn) == (1, 2)
    assert second.memory_ids == (first.entry_id,)


def test_a_pin_of_a_turn_that_is_kept_or_replaced_stays(comfy_server, graph: Graph) -> None:
    prompt = three_turns(graph, "pinned_again")
    comfy_server.api.run(prompt, workflow_id=WORKFLOW)
    first = saved(comfy_server, "pinned_again").entries[0]
    pin = graph.managed("pinned_again", action="pin", entry=first.entry_id[:8])
    comfy_server.api.run(pin, workflow_id=WORKFLOW)
    comfy_server.api.run(three_turns(graph, "pinned_again", seed=55), workflow_id=WORKFLOW)
    replaced = {entry.turn: entry for entry in saved(comfy_server, "pinned_again").entries}
    assert replaced[1].entry_id != first.entry_id
    assert replaced[1].is_pinned


def test_a_cache_saved_at_the_end_replaces_the_turns_of_the_run_before(
    comfy_server, graph: Graph
) -> None:
    for seed in (41, 42):
        prompt = graph.turn(graph.base(""), 1, ("session", 0), seed=seed)
        prompt["end"] = graph.node("MemoryCache", session="end", cache=["turn1", 1])
        prompt["show"] = graph.node("PreviewAny", source=["end", 1])
        comfy_server.api.run(prompt, workflow_id=WORKFLOW)
    (only,) = saved(comfy_server, "end").entries
    assert only.seed == 42
