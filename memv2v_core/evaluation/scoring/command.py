"""`python -m memv2v_core.evaluation score SUITE.yaml`."""

import argparse
import json
import logging
import sys
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from ...atomic_files import write_atomically
from ..making.edits import scene_of
from ..making.recipes import with_made_videos
from ..making.run import make_videos
from ..metrics.metric import Metric
from ..report import machine
from ..shares import Share, share_of_process
from ..suites.loading import load_suite, shipped_suites
from ..suites.probe_suite import ProbeSuite
from ..suites.suite import Suite
from .line_plots import has_lines, line_plot
from .metrics_by_name import metric_named
from .plots import plot
from .probing import probe_of, probe_share, probe_summary
from .run import measure_share, read_scores, require_inputs
from .store import plain_values
from .summary import Summary, summarised
from .tables import latex, markdown, record
from .videos import find_videos, require_times

METHODS = "methods"


def main(arguments: list[str] | None = None) -> int:
    """The exit code of the command: 0, or 1 with one line of what is wrong."""
    parser = argparse.ArgumentParser(prog="score", description=__doc__)
    parser.add_argument(
        "suite", help=f"a YAML file, or a shipped one: {', '.join(shipped_suites())}"
    )
    parser.add_argument("--folder", type=Path, help="for results; SUITE_scores if not given")
    parser.add_argument(
        "--weights", type=Path, default=Path("models"), help="the folder of networks of metrics"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    try:
        suite = load_suite(shipped_suites().get(options.suite) or Path(options.suite))
        folder = options.folder or Path(f"{suite.name}_scores")
        device = _device(options.device)
        if isinstance(suite, ProbeSuite):
            probe(suite, folder, device)
        else:
            score(suite, folder, options.weights, device)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def score(suite: Suite, folder: Path, weights: Path, device: torch.device) -> None:
    """Measure a suite and write its tables, plots and one JSON a method.

    Under `accelerate launch` each process measures its share; the first one writes.

    Raises: ValueError naming what is missing or cannot be measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    share, wait = share_of_process()
    _log_as(share)
    metrics: dict[str, Metric] = {
        name: metric_named(name, weights, device) for name in suite.metrics
    }
    scenes = partial(scene_of, suite) if suite.families else None
    scored = with_made_videos(suite, folder)
    # Before videos are made, which may take long.
    require_inputs(scored, metrics, scenes is not None)
    make_videos(suite, folder, device, share)
    wait()
    found = find_videos(scored)
    if any("time" in metric.needs for metric in metrics.values()):
        require_times(found)
    measure_share(scored, metrics, found, folder, device, share, scenes)
    wait()
    if share.rank:
        return
    scores = read_scores(scored, metrics, found, folder)
    for method, by_metric in scores.values.items():
        held = {
            metric: {
                f"{clip}, seed {seed}": plain_values(values)
                for (clip, seed), values in by_clip.items()
            }
            for metric, by_clip in by_metric.items()
        }
        content = {"suite": suite.name, "method": method, "machine": machine(device)}
        place = folder / METHODS
        place.mkdir(exist_ok=True)
        _write_json(place / f"{method}.json", {**content, "values": held})
    _write_tables(summarised(scores, metrics), folder)


def probe(suite: ProbeSuite, folder: Path, device: torch.device) -> None:
    """Measure inside a model, and write tables and a plot.

    Raises: ValueError for a model that the probe cannot measure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    share, wait = share_of_process()
    _log_as(share)
    chosen = probe_of(suite, device)
    probe_share(suite, chosen, folder, share)
    wait()
    if share.rank:
        return
    of = "repeats" if suite.probe == "cost" else "scenes"
    _write_json(folder / "machine.json", machine(device))
    _write_tables(probe_summary(suite, chosen, folder, of), folder)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device got {name!r}, which is not here; pass cpu or cuda") from error
    return device


def _log_as(share: Share) -> None:
    """Progress on the standard output; each of several processes says which it is."""
    prefix = f"[{share.rank + 1} of {share.count}] " if share.count > 1 else ""
    logging.basicConfig(
        level=logging.INFO, format=f"{prefix}%(message)s", stream=sys.stdout, force=True
    )


def _write_tables(summary: Summary, folder: Path) -> None:
    _write_json(folder / "table.json", record(summary))
    write_atomically(folder / "table.md", markdown(summary).encode())
    write_atomically(folder / "table.tex", latex(summary).encode())
    drawn = line_plot(summary, "memories") if has_lines(summary) else plot(summary)
    pixels = (drawn * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(folder / "plot.png")
    sys.stdout.write(f"\n{markdown(summary)}\nwritten to {folder}\n")


def _write_json(path: Path, content: object) -> None:
    write_atomically(path, json.dumps(content, indent=1).encode())
