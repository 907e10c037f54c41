"""One ValueError with the file's name, whatever happens while a file is read."""

import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from instruments.broken_weights import MAX_MESSAGE_CHARS

from memv2v_core.weights.reading.boundary import Fault, one_line, quoted, reading

PATH = Path("/models/mine.safetensors")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (KeyError("x"), "KeyError"),
        (TypeError("x"), "TypeError"),
        (AttributeError("x"), "AttributeError"),
        (RuntimeError("use weights_only=False\n" * 9999), "RuntimeError"),
        (OverflowError("x"), "OverflowError"),
        (ZeroDivisionError("x"), "ZeroDivisionError"),
        (RecursionError("x"), "nested too deeply"),
        (MemoryError(), "more memory"),
        (EOFError("x"), "cut short"),
        (zipfile.BadZipFile("x"), "cut short"),
        (json.JSONDecodeError("secret text", "{", 1), "no JSON"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "secret text"), "no UTF-8"),
        (FileNotFoundError(2, "secret text"), "not there"),
        (OSError(5, "secret text"), "the disk"),
    ],
)
def test_any_class_of_fault_becomes_one_named_error(fault: Exception, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught, reading(PATH, "an adapter"):
        raise fault
    told = str(caught.value)
    assert told.startswith("mine.safetensors in /models could not be read (")
    assert "), wanted an adapter; download or convert it again" in told
    assert type(caught.value) is ValueError
    assert "secret" not in told
    assert "weights_only" not in told
    assert len(told) < MAX_MESSAGE_CHARS


def test_a_fault_may_have_its_own_remedy() -> None:
    message = "^mine.safetensors in /models has no x, wanted y; do z$"
    with pytest.raises(ValueError, match=message), reading(PATH, "y"):
        raise Fault("has no x", "do z")


def test_a_check_that_says_it_all_only_gets_the_files_name() -> None:
    message = "^mine.safetensors in /models: dim got 3, wanted 4$"
    with pytest.raises(ValueError, match=message), reading(PATH):
        raise ValueError("dim got 3, wanted 4")


@pytest.mark.parametrize(
    "fault", [AssertionError("ours"), KeyboardInterrupt(), torch.cuda.OutOfMemoryError("full")]
)
def test_our_own_faults_interrupts_and_a_full_gpu_pass(fault: BaseException) -> None:
    with pytest.raises(type(fault)) as caught, reading(PATH):
        raise fault
    assert caught.value is fault


def test_a_pickle_error_is_no_advice() -> None:
    with pytest.raises(ValueError, match="mine.safetensors") as caught, reading(PATH):
        raise pickle.UnpicklingError("weights_only=False lets it in")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a.weight", "'a.weight'"),
        ("a\nb\x1b[31m", r"'a\nb\x1b[31m'"),
        ("x" * 500, "'" + "x" * 75 + "...'"),
        ("\U0001f600" * 80, None),
        ((2, 3), "(2, 3)"),
        (1.5, "1.5"),
        ([1] * 400, "a list"),
        ({"a": 1}, "a dict"),
    ],
)
def test_texts_of_a_file_are_short_and_printable(value: object, shown: str | None) -> None:
    text = quoted(value)
    assert shown is None or text == shown
    assert text.isprintable()
    assert text.isascii()
    assert len(text) <= 80


def test_an_endless_tuple_is_named_by_its_type() -> None:
    value: object = ()
    for _ in range(200):
        value = (value, value)
    assert quoted(value) == "a tuple"


def test_one_line_keeps_names_of_any_language() -> None:
    assert one_line("K\u00fcche\r\n\t\u202e x \ud800") == "K\u00fcche x"
    assert one_line("y" * 9999, 20) == "y" * 17 + "..."
