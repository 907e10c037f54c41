"""What only a server can show: the steps of a turn with memory, and its pictures, while it is being
made.
"""

import asyncio
import io
import json
import struct
import uuid
from pathlib import Path

import numpy
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
STEPS = 5
PREVIEW_WITH_METADATA = 4


async def follow(
    server, prompt: dict[str, dict]
) -> tuple[list[dict], list[tuple[dict, Image.Image]]]:
    """All events and previews of one prompt, as a browser receives them."""
    import aiohttp

    client_id, events, previews = uuid.uuid4().hex, [], []
    address, patience = (
        f"{server.url}/ws?clientId={client_id}",
        aiohttp.ClientWSTimeout(ws_receive=120),
    )
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(address, timeout=patience) as socket,
    ):
        await socket.send_json(
            {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
        )
        extra = {"preview_method": "latent2rgb"}
        server.api.post("/prompt", {"prompt": prompt, "client_id": client_id, "extra_data": extra})
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                kind, length = struct.unpack_from(">II", message.data)
                assert kind == PREVIEW_WITH_METADATA
                metadata = json.loads(message.data[8 : 8 + length])
                previews.append(
                    (metadata, Image.open(io.BytesIO(message.data[8 + length :])).convert("RGB"))
                )
                continue
            events.append(json.loads(message.data))
            if events[-1]["type"] in (
                "execution_success",
                "execution_error",
                "execution_interrupted",
            ):
                break
    return events, previews


def test_steps_and_previews_of_a_turn_with_memory_arrive_while_it_runs(comfy_server) -> None:
    from devtools.workflow import nodes_of_type, with_input, workflow_to_prompt

    workflow = json.loads(
        (ROOT / "workflows" / "one_turn_native_sampler.json").read_text(encoding="utf-8")
    )
    prompt = workflow_to_prompt(workflow, comfy_server.api.object_info())
    (sampler,) = nodes_of_type(prompt, "KSampler")
    prompt = with_input(with_input(prompt, sampler, "steps", STEPS), sampler, "seed", 314)
    events, previews = asyncio.run(follow(comfy_server, prompt))
    assert events[-1]["type"] == "execution_success", events[-1]

    states = [
        event["data"]["nodes"].get(sampler) for event in events if event["type"] == "progress_state"
    ]
    values = [int(state["value"]) for state in states if state and int(state["max"]) == STEPS]
    assert values == sorted(values)
    assert set(range(1, STEPS + 1)) <= set(values)

    pictures = [
        numpy.asarray(picture, dtype=float)
        for metadata, picture in previews
        if metadata["node_id"] == sampler
    ]
    assert len(pictures) >= 2
    assert all(picture.std() > 1 for picture in pictures)
    assert abs(pictures[0] - pictures[-1]).mean() > 1  # the picture comes forth from noise
