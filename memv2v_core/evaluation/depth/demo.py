"""What the demo of scenes with depth shows: how far turns differ where the source never looked,
and two pictures.

    python -m memv2v_core.evaluation.depth.demo SHEET.png LOOP.webp < spec.json

The spec is {"scene": null or {"number": n, "size": pixels, "num_frames": n, "drift_deg": degrees},
"paths": {turn: widgets of Camera Trajectory}, "source": [pictures], "arms": {name: {turn:
[pictures]}}}. Pictures are files, one a frame. The last turn is compared with every earlier one.
Nothing is known of the geometry of a user's clip: then scene is null, and nothing is measured. The
measures are printed as JSON.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...cameras.authored import PathSettings, authored_path
from ...cameras.trajectory import CameraTrajectory, lens_intrinsics
from ...pictures.contact_sheet import SheetRow, contact_sheet, read_frames
from ...pictures.loop import save_grid
from ...synthetic.solids.filming import FilmedSolids, film_solids
from ...synthetic.solids.making import demo_solid_scene
from ...synthetic.solids.paths import drifting_solid_path
from ...synthetic.solids.scene import SolidScene
from ...synthetic.solids.visibility import ever_seen
from .measures import turn_difference

Turns = dict[str, torch.Tensor]  # (F, 3, H, W) by turn
SHEET_FRAMES = (0, 2, 4, 6, 8)
FRAME_RATE, TILE_PX = 4.0, 192
# The loop stays where turn C looks at the places of turn A and then of turn B.
HELD_FRAMES = (3, 8)
SOURCE = "source"


def written_path(widgets: Mapping[str, Any]) -> CameraTrajectory:
    """The path that Camera Trajectory makes of its widgets."""
    lens = lens_intrinsics(widgets["fov_deg"], widgets["aspect"])
    names = PathSettings.__dataclass_fields__.keys() & widgets.keys()
    settings = PathSettings(**{name: widgets[name] for name in names})
    return authored_path(settings, widgets["num_frames"], lens)


def film_demo(spec: Mapping[str, Any]) -> tuple[SolidScene, dict[str, FilmedSolids]]:
    """The scene of a spec, and the truth along the source's path and every turn's."""
    given = spec["scene"]
    scene, size = demo_solid_scene(given["number"]), given["size"]
    paths = {SOURCE: drifting_solid_path(given["drift_deg"], given["num_frames"])}
    paths |= {turn: written_path(widgets) for turn, widgets in spec["paths"].items()}
    films = {}
    for name, path in paths.items():
        films[name] = film_solids(scene, path, size, size, path.moments())
    return scene, films


def turn_differences(
    scene: SolidScene, films: Mapping[str, FilmedSolids], arms: Mapping[str, Turns]
) -> dict[str, dict[str, float]]:
    """Of every arm the difference of the last turn to each earlier one, by name and in the mean.

    It is the mean absolute difference where both turns show the same point in the same frame and
    the source never showed it, as in `measures.turn_difference`. A pair without such points is left
    out.
    """
    *earlier, last = (name for name in films if name != SOURCE)
    unseen = ~ever_seen(scene, films[last], films[SOURCE])
    found: dict[str, dict[str, float]] = {}
    for arm, turns in arms.items():
        pairs = {}
        for turn in earlier:
            difference, region = turn_difference(
                scene, turns[turn], films[turn], turns[last], films[last], unseen
            )
            if region.any():
                pairs[f"{turn}-{last}"] = difference
        mean = {"mae": sum(pairs.values()) / len(pairs)} if pairs else {}
        found[arm] = {**mean, **pairs}
    return found


def draw(
    source: torch.Tensor, arms: Mapping[str, Turns], truth: Turns, sheet: Path, loop: Path
) -> None:
    """Write the contact sheet and the loop: a row an arm, then the truth where it is known."""
    named = {arm.replace("_", " "): turns for arm, turns in arms.items()}
    named |= {"the truth": truth} if truth else {}
    rows = [
        [SheetRow(f"turn {turn}, {name}", video) for turn, video in turns.items()]
        for name, turns in named.items()
    ]
    shown = SheetRow(SOURCE, source)
    columns = [frame for frame in SHEET_FRAMES if frame < len(source)]
    contact_sheet([shown, *(video for row in rows for video in row)], columns).save(sheet)
    # The source stands beside the first row alone.
    beside = [shown, *[None] * (len(rows) - 1)]
    grid = [[first, *row] for first, row in zip(beside, rows, strict=True)]
    save_grid(grid, loop, FRAME_RATE, TILE_PX, HELD_FRAMES)


def measure(spec: Mapping[str, Any], sheet: Path, loop: Path) -> dict[str, dict[str, float]]:
    """The measures of every arm; writes both pictures."""
    source = read_frames(spec["source"])
    arms = {
        arm: {turn: read_frames(files) for turn, files in turns.items()}
        for arm, turns in spec["arms"].items()
    }
    if spec["scene"] is None:
        draw(source, arms, {}, sheet, loop)
        return {}
    scene, films = film_demo(spec)
    draw(source, arms, {turn: films[turn].frames for turn in spec["paths"]}, sheet, loop)
    return turn_differences(scene, films, arms)


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin), Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
