"""What the page says of the built-in models is what ships."""

import re
from pathlib import Path

from memv2v_core.builtin import bundle

NEEDS = Path(__file__).resolve().parents[3] / "web" / "loader_fit" / "needs.mjs"
TASKS = {"CAMERA": "novel_view", "WORDS": "text_edit"}


def test_the_page_knows_by_what_each_model_edits() -> None:
    known = dict(re.findall(r'"built-in: (\w+)": (CAMERA|WORDS)', NEEDS.read_text("utf-8")))
    shipped = {name: bundle.read_info(name).task for name in bundle.builtin_names()}
    assert {name: TASKS[kind] for name, kind in known.items()} == shipped
