"""Every text that the pack shows in ComfyUI's page, in English: what a locale translates.

A locale is a folder of `locales/` with three files, as ComfyUI serves them at /i18n.
`english_texts` gives the same files with the English texts in them.
"""

import json
import re
from pathlib import Path
from typing import Any

from ..environment import ROOT

PACK = "comfyui-memory-v2v"  # the key of the pack's templates, whatever its folder is called
FILES = ("nodeDefs", "settings", "main")
MENU = "Memory-V2V"
Texts = dict[str, Any]  # nested, a text at each end

# The first argument of t(): one literal in double quotes, then a comma or the end.
_CALL = re.compile(r'(?<![\w.])t\(\s*(?:"((?:[^"\\]|\\.)*)"\s*[,)])?')
_SETTING = re.compile(r'\bid:\s*"(MemoryV2V\.[^"]+)"(.*?)(?=\bid:\s*"MemoryV2V\.|\Z)', re.DOTALL)
_QUOTED = r'\s*:\s*(?:t\(\s*)?"((?:[^"\\]|\\.)*)"'


def english_texts(nodes: dict[str, dict], root: Path = ROOT) -> Texts:
    """The English texts, by file.

    nodes: the pack's part of ComfyUI's /object_info.
    Raises: ValueError where a text of the page is no literal.
    """
    return {
        "nodeDefs": {name: _node_texts(info) for name, info in nodes.items()},
        "settings": _setting_texts(root / "web"),
        "main": {
            "memoryV2V": {text: text for text in _page_texts(root / "web")},
            "nodeCategories": {name: name for name in _categories(nodes)},
            "templateWorkflows": _template_texts(root),
        },
    }


def _node_texts(info: dict) -> Texts:
    texts: Texts = {"display_name": info["display_name"], "description": info["description"]}
    inputs = {}
    for group in ("required", "optional"):
        for name, (_, options) in info["input"].get(group, {}).items():
            # The page asks for an input with a dot in its name under this name.
            inputs[name.replace(".", "_")] = {
                "name": options.get("display_name") or name,
                "tooltip": options.get("tooltip") or "",
            }
    names, tooltips = info["output_name"], info["output_tooltips"] or ()
    outputs = {
        str(index): {"name": name, "tooltip": tooltip or ""}
        for index, (name, tooltip) in enumerate(zip(names, tooltips, strict=True))
    }
    return {**texts, "inputs": inputs, "outputs": outputs}


def _categories(nodes: dict[str, dict]) -> list[str]:
    parts = (part for info in nodes.values() for part in info["category"].split("/"))
    return [part for part in dict.fromkeys(parts) if part != MENU]


def _sources(web: Path) -> list[Path]:
    return sorted((*web.rglob("*.js"), *web.rglob("*.mjs")))


def _page_texts(web: Path) -> list[str]:
    found = set()
    for path in _sources(web):
        source = path.read_text(encoding="utf-8").replace("export function t(english", "")
        for call in _CALL.finditer(source):
            if call.group(1) is None:
                line = source.count("\n", 0, call.start()) + 1
                raise ValueError(
                    f"{path.name}, line {line}: t() got no literal text, wanted "
                    't("English text {value}", { value }); write the whole text there'
                )
            found.add(json.loads(f'"{call.group(1)}"'))
    return sorted(found)


def _setting_texts(web: Path) -> Texts:
    texts = {}
    for path in _sources(web):
        for setting in _SETTING.finditer(path.read_text(encoding="utf-8")):
            key, body = setting.group(1).replace(".", "_"), setting.group(2)
            found = {part: re.search(rf"\b{part}{_QUOTED}", body) for part in ("name", "tooltip")}
            texts[key] = {
                part: json.loads(f'"{match.group(1)}"') for part, match in found.items() if match
            }
    return texts


def _template_texts(root: Path) -> Texts:
    """English texts of the templates are data, not code: they stand in locales/en."""
    path = root / "locales" / "en" / "main.json"
    written = json.loads(path.read_text(encoding="utf-8"))["templateWorkflows"]
    names = sorted(file.stem for file in (root / "workflows").glob("*.json"))
    return {
        part: {PACK: {name: written[part][PACK].get(name, "") for name in names}}
        for part in ("template", "templateDescription")
    }
