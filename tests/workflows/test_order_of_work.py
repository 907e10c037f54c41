"""The order in which ComfyUI runs the nodes of a graph of several turns."""

import json
from pathlib import Path

from devtools.websocket import EventStream

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "multi_turn_novel_view.json"
STEPS = 2


def test_the_video_of_a_turn_is_saved_before_the_next_turn_is_sampled(comfy_server) -> None:
    from devtools.workflow import nodes_of_type, with_input, workflow_to_prompt

    prompt = workflow_to_prompt(
        json.loads(WORKFLOW.read_text("utf-8")), comfy_server.api.object_info()
    )
    samplers, writers = (nodes_of_type(prompt, name) for name in ("MemoryV2VSampler", "SaveVideo"))
    assert len(samplers) == len(writers) == 3
    for idx, sampler in enumerate(samplers):
        prompt = with_input(with_input(prompt, sampler, "steps", STEPS), sampler, "seed", 700 + idx)
    ran = _order(comfy_server, prompt)
    first, second, third = (ran.index(node) for node in samplers)
    videos = [ran.index(node) for node in writers]
    assert first < videos[0] < second < videos[1] < third < videos[2]


def _order(server, prompt: dict[str, dict]) -> list[str]:
    """The nodes of a prompt, as the server says that it begins them."""
    events = EventStream(server.url, server.api.client_id)
    try:
        server.api.queue(prompt)
        ran = []
        while True:
            event = events.next_event(timeout_s=60.0)
            assert event is not None, f"no news for a minute, after {ran}"
            assert event["type"] not in ("execution_error", "execution_interrupted"), event
            if event["type"] == "execution_success":
                return ran
            if event["type"] == "executing" and event["data"]["node"] is not None:
                ran.append(event["data"]["node"])
    finally:
        events.close()
