"""Prints what each locale lacks, as JSON to fill and to paste into its files."""

import argparse
import json
import sys

from ..environment import find_environment
from ..server import pack_nodes, running_server
from .comparison import languages, left_over, missing_texts, read_locale, wrong_texts
from .english import english_texts


def main(arguments: list[str]) -> int:
    """0 where every named locale is complete, else 1."""
    parser = argparse.ArgumentParser(prog="dev.py texts", description=__doc__)
    parser.add_argument(
        "language",
        nargs="*",
        help="folders of locales/, such as zh; a new name prints every text; default: all",
    )
    chosen = parser.parse_args(arguments).language or languages()
    english = english_texts(_nodes())
    return max([_show(language, english) for language in chosen], default=0)


def _nodes() -> dict[str, dict]:
    """The pack's nodes as a real server describes them."""
    environment = find_environment()
    if environment is None:
        raise SystemExit("error: no ComfyUI; run python3 dev.py setup first")
    with running_server(environment, extra_args=["--disable-api-nodes"]) as server:
        described = server.api.object_info()
    return {name: described[name] for name in pack_nodes(described)}


def _show(language: str, english: dict) -> int:
    translated = read_locale(language)
    missing = missing_texts(english, translated)
    for name, texts in missing.items():
        print(f"--- missing in locales/{language}/{name}.json")
        print(json.dumps(texts, ensure_ascii=False, indent=2))
    faults = [f"{place}: nothing in English; delete it" for place in left_over(english, translated)]
    faults += wrong_texts(english, translated)
    for fault in faults:
        print(f"locales/{language}/{fault}")
    if not missing and not faults:
        print(f"locales/{language}: complete")
    return int(bool(missing or faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
