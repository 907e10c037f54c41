"""Prompts for the HTTP API, which fills in no defaults."""

from typing import Any


def prompt_node(object_info: dict, kind: str, **inputs: Any) -> dict:
    """A node of a prompt with the defaults of its schema, and `inputs` over them."""
    required = object_info[kind]["input"]["required"]
    defaults = {
        name: spec[1]["default"]
        for name, spec in required.items()
        if "default" in (spec[1:] or [{}])[0]
    }
    return {"class_type": kind, "inputs": {**defaults, **inputs}, "_meta": {"title": kind}}
