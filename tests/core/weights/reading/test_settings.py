"""JSON and settings out of files."""

import json
import re
import time
from typing import Any

import pytest

from memv2v_core.builtin.info import BuiltinInfo
from memv2v_core.model.adapter import AdapterConfig
from memv2v_core.weights.reading.boundary import Fault
from memv2v_core.weights.reading.json_text import parse_json, parse_object
from memv2v_core.weights.reading.limits import (
    MAX_BLOCKS,
    MAX_JSON_BYTES,
    MAX_JSON_VALUES,
    MAX_WIDTH,
)
from memv2v_core.weights.reading.settings import read_settings

SIZES = {"dim": 64, "num_blocks": 2, "in_channels": 16}
DESCRIPTION = {"name": "x", "size": 96, "num_frames": 9, "shift": 3, "num_steps": 12, "dit": {}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 5000 + "]" * 5000, "nested more than 32"),
        ('{"a":' * 33 + "1" + "}" * 33, "nested more than 32"),
        ("[" * 90000, "nested more than 32"),
        ('{"a": NaN}', "'NaN', which is not finite"),
        ('{"a": -Infinity}', "'-Infinity', which is not finite"),
        ('{"a": 1e999}', "'1e999', which is not finite"),
        ('{"a": ' + "9" * 100_000 + "}", "a number of 100000 digits"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ("{", "no JSON"),
        ("", "no JSON"),
        (" " * (MAX_JSON_BYTES + 1), "more than 1048576"),
    ],
)
def test_a_json_that_is_no_plain_one_is_refused(text: str, words: str) -> None:
    with pytest.raises(Fault, match=f"has a header .*{re.escape(words)}"):
        parse_json(text, "a header")


def test_brackets_inside_texts_are_no_depth() -> None:
    text = json.dumps({"a": "[" * 500, "b": '"[{' * 500})
    assert parse_json(text, "x") == {"a": "[" * 500, "b": '"[{' * 500}


def test_hostile_texts_cost_no_time() -> None:
    start = time.perf_counter()
    for text in ('"' + '\\"' * 400_000, "\\" * 900_000, '"a' * 400_001, '"' + "[" * 900_000):
        with pytest.raises(Fault, match="no JSON"):
            parse_json(text, "x")
    assert time.perf_counter() - start < 2


def test_the_number_of_values_is_bounded() -> None:
    text = "[" + "{}," * (MAX_JSON_VALUES // 2) + "{}]"
    with pytest.raises(Fault, match="has x of more than 1500000 values"):
        parse_json(text, "x", len(text))


def test_many_digits_cost_no_time() -> None:
    start = time.perf_counter()
    with pytest.raises(Fault, match="digits"):
        parse_json("9" * (MAX_JSON_BYTES - 1), "x")
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_only_an_object_has_fields(text: str) -> None:
    with pytest.raises(Fault, match="no JSON object"):
        parse_object(text, "x")


def test_right_settings_are_taken_with_defaults() -> None:
    assert read_settings(AdapterConfig, SIZES) == AdapterConfig(64, 2, 16)
    full = read_settings(AdapterConfig, {**SIZES, "clean_timestep": "zero", "has_rays": True})
    assert full == AdapterConfig(64, 2, 16, has_rays=True, clean_timestep="zero")
    assert read_settings(BuiltinInfo, DESCRIPTION).dit.dim == 256
    assert read_settings(BuiltinInfo, {**DESCRIPTION, "fov_deg": None}).fov_deg is None


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("dim", 10**9, f"a whole number from 1 to {MAX_WIDTH}"),
        ("num_blocks", 10**6, f"a whole number from 1 to {MAX_BLOCKS}"),
        ("dim", 0, "a whole number from 1"),
        ("dim", -5, "a whole number from 1"),
        ("dim", True, "a whole number from 1"),
        ("dim", 64.0, "a whole number from 1"),
        ("dim", "64", "a whole number from 1"),
        ("dim", None, "a whole number from 1"),
        ("has_rays", 1, "true or false"),
        ("clean_timestep", "one", "'zero' or 'target'"),
        ("clean_timestep", ["zero"], "'zero' or 'target'"),
        ("camera_conditioning", 3, "'per_video' or 'target'"),
        ("memory_order", "x" * 999, "'forward' or 'reversed'"),
    ],
)
def test_a_wrong_value_of_a_setting_is_named(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(Fault, match=f"for the setting '{name}', which must be {wanted}"):
        read_settings(AdapterConfig, {**SIZES, name: value})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shift": True}, "True for the setting 'shift'"),
        ({"shift": -1}, "-1 for the setting 'shift'"),
        ({"fov_deg": "60"}, "'60' for the setting 'fov_deg'"),
        ({"name": 3}, "3 for the setting 'name'"),
        ({"task": "anything"}, "'anything' for the setting 'task'"),
        ({"dit": {"num_layers": 10**6}}, "1000000 for the setting 'num_layers'"),
        ({"dit": {"wings": 2}}, "the setting 'wings', which is unknown here"),
        ({"dit": []}, "settings that are no JSON object but"),
    ],
)
def test_settings_inside_settings_are_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault, match=words):
        read_settings(BuiltinInfo, {**DESCRIPTION, **changes})


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(Fault, match="lacks the setting 'in_channels'"):
        read_settings(AdapterConfig, {"dim": 64, "num_blocks": 2})
