"""What a locale lacks, has too much, or says wrongly."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from ..environment import ROOT
from .english import FILES, Texts

SHORT = 4  # words; a longer text that equals the English one is no translation
_VALUE = re.compile(r"\{(\w+)\}")
_HTML = re.compile(r"</?[a-zA-Z][^>]*>|&\w+;")
# vue-i18n gives these a meaning of its own. It reads neither panels' texts nor nodes' tooltips.
_SPECIAL = re.compile(r"[@|{}]")
_IN_PANELS = ("main", "memoryV2V")

Place = tuple[str, ...]  # keys from the outside in


def read_locale(language: str, root: Path = ROOT) -> Texts:
    """A locale's files as nested texts; a file that is not there is empty."""
    folder = root / "locales" / language
    paths = {name: folder / f"{name}.json" for name in FILES}
    return {
        name: json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for name, path in paths.items()
    }


def languages(root: Path = ROOT) -> list[str]:
    """The locales beside English."""
    return sorted(folder.name for folder in (root / "locales").iterdir() if folder.name != "en")


def missing_texts(english: Texts, translated: Texts) -> Texts:
    """The part of `english` that `translated` lacks or leaves empty: a skeleton to fill."""
    present = {path for path, text in _leaves(translated) if text.strip()}
    missing: Texts = {}
    for path, text in _leaves(english):
        if text and path not in present:
            place = missing
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = text
    return missing


def left_over(english: Texts, translated: Texts) -> list[str]:
    """Places of texts that translate nothing, but for the name of the pack's templates."""
    wanted = {path for path, _ in _leaves(english)}
    extra = [path for path, _ in _leaves(translated) if path not in wanted]
    return [_place(path) for path in extra if path[:3] != ("main", "templateWorkflows", "category")]


def wrong_texts(english: Texts, translated: Texts) -> list[str]:
    """One sentence for each text that cannot be right, whatever it means."""
    originals = dict(_leaves(english))
    found = []
    for path, text in _leaves(translated):
        original = originals.get(path, "")
        place = f"{_place(path)}: {text!r}"
        if len(original.split()) > SHORT and text == original:
            found.append(f"{place} is the English text; translate it")
        if set(_VALUE.findall(text)) != set(_VALUE.findall(original)) and path[:2] == _IN_PANELS:
            found.append(f"{place} has other {{values}} than {original!r}; use the same")
        if _HTML.search(text):
            found.append(f"{place} holds HTML; the page shows it as letters")
        is_raw = path[:2] == _IN_PANELS or (path[0], path[-1]) == ("nodeDefs", "tooltip")
        if not is_raw and _SPECIAL.search(text):
            found.append(f"{place} holds one of @ | {{ }}, which the page reads as a command")
    return found


def _leaves(texts: Texts, path: Place = ()) -> Iterator[tuple[Place, str]]:
    for key, value in texts.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), str(value)


def _place(path: Place) -> str:
    return f"{path[0]}.json " + " > ".join(path[1:])
