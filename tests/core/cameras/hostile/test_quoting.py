"""No text of a camera file is repeated: a workflow of a stranger may have chosen the file."""

import json
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from instruments.camera_files import (
    CONTENTS,
    TEXTS,
    changed,
    colmap_binary,
    places,
    renamed,
    written,
)

from memv2v_core.cameras.formats.detection import load_cameras
from memv2v_core.cameras.formats.reading.results import ImportSettings

SECRET = "zebra-7Q"
WORD = re.compile(r"\S+")


def said(files: dict[str, bytes], folder: Path) -> tuple[bool, str]:
    """Whether loading is refused, and all that is said: notes, or the error as the log shows it."""
    settings = ImportSettings(camera="cam01", aspect=2.0)
    try:
        return False, "\n".join(load_cameras(written(files, folder), settings).notes)
    except ValueError as error:
        return True, "".join(traceback.format_exception(error))


def inside(content: Any, place: tuple) -> Any:
    for key in place:
        content = content[key]
    return content


def json_files(content: Any) -> Iterator[bytes]:
    """The secret in every place of a content: as a value, inside of one, as a key."""
    for place in places(content):
        old = inside(content, place)
        for value in (SECRET, [SECRET], {SECRET: SECRET}, f"{old} {SECRET}", f"{SECRET}{old}"):
            yield json.dumps(changed(content, place, value)).encode()
        if isinstance(old, list):
            yield json.dumps(changed(content, place, [*old, SECRET])).encode()
        if place and isinstance(place[-1], str):
            yield json.dumps(renamed(content, place, SECRET)).encode()
            yield json.dumps(renamed(content, place, f"{place[-1]}{SECRET}")).encode()


def text_files(text: str) -> Iterator[bytes]:
    """The secret in place of every word and line, and behind and before each."""
    for found in WORD.finditer(text):
        word = found[0]
        for new in (SECRET, f"{word} {SECRET}", f"{word}{SECRET}", f"{SECRET}\n{word}"):
            yield (text[: found.start()] + new + text[found.end() :]).encode()
    lines = text.splitlines()
    for place in range(len(lines)):
        yield "\n".join([*lines[:place], SECRET, *lines[place + 1 :]]).encode()


def require_silence(all_files: Iterator[dict[str, bytes]], folder: Path) -> None:
    num_refused = 0
    for files in all_files:
        is_refused, text = said(files, folder)
        num_refused += is_refused
        if SECRET in text:
            pytest.fail(f"{files}\nsays\n{text}")
    # Else nothing was tested.
    assert num_refused > 10


@pytest.mark.parametrize("name", CONTENTS)
def test_no_value_and_no_key_of_json_is_repeated(tmp_path: Path, name: str) -> None:
    require_silence(({"a.json": data} for data in json_files(CONTENTS[name])), tmp_path)


@pytest.mark.parametrize("name", TEXTS)
def test_no_word_of_a_text_is_repeated(tmp_path: Path, name: str) -> None:
    files = {file: text.encode() for file, text in TEXTS[name].items()}
    every = ({**files, file: data} for file in files for data in text_files(TEXTS[name][file]))
    require_silence(every, tmp_path)


def test_no_bytes_of_a_binary_file_are_repeated(tmp_path: Path) -> None:
    files, secret = colmap_binary(), SECRET.encode()
    every = (
        {**files, file: data[:place] + secret + data[place + num_replaced :]}
        for file, data in files.items()
        for place in range(len(data))
        for num_replaced in (0, len(secret))
    )
    require_silence(every, tmp_path)


@pytest.mark.parametrize("name", ["a.json", "a.txt", "images.txt", "images.bin", "cameras.bin"])
def test_another_kind_of_file_is_not_repeated(tmp_path: Path, name: str) -> None:
    lines = [f"{SECRET}{i}: 'x' {SECRET}" for i in range(3)]
    for text in ("\n".join(lines), lines[0], json.dumps(lines), json.dumps({SECRET: lines})):
        is_refused, words = said({name: text.encode()}, tmp_path)
        assert is_refused
        assert SECRET not in words


def test_names_that_the_format_defines_are_said(tmp_path: Path) -> None:
    content = {"frame0": {"cam02": "", SECRET: "", "cam07": ""}}
    _, words = said({"a.json": json.dumps(content).encode()}, tmp_path)
    assert "got in frame0 cameras cam02, cam07, 1 of other names, wanted camera 'cam01'" in words
