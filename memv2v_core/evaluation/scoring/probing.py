"""Scores a suite that measures inside a model: each item once, then a table."""

import hashlib
import logging
from pathlib import Path

import torch

from ..probes.cost import ForwardCost
from ..probes.probe import Probe
from ..probes.responsiveness import Responsiveness
from ..progress import told
from ..shares import WHOLE, Share
from ..suites.probe_suite import ProbeSuite
from .run import STORE
from .store import Store, UnitKey
from .summary import Key, Summary, TableColumn, summary_of

log = logging.getLogger(__name__)
_SEED = 0


def probe_of(suite: ProbeSuite, device: torch.device) -> Probe:
    """The suite's probe, with its model loaded.

    Raises: ValueError for a model that it cannot measure.
    """
    if suite.probe == "cost":
        return ForwardCost(suite.cost, device)
    return Responsiveness(suite.responsiveness, device)


def probe_share(suite: ProbeSuite, probe: Probe, folder: Path, share: Share = WHOLE) -> None:
    """Measure what is not measured yet, as far as it is this process's share."""
    store = Store(folder / STORE)
    mine = probe.items[share.rank :: share.count]
    to_do = [
        item
        for item in mine
        if any(store.read(_key(suite, probe, row, item)) is None for row in probe.rows)
    ]
    log.info("%s: %d of %d are measured already", suite.probe, len(mine) - len(to_do), len(mine))
    for item in told(to_do, log, suite.probe):
        for row, values in probe.measure(item).items():
            store.write(_key(suite, probe, row, item), values)


def probe_summary(suite: ProbeSuite, probe: Probe, folder: Path, of: str) -> Summary:
    """The table of everything that was measured, by all processes.

    of: what the items are called.

    Raises: ValueError naming what is not measured yet.
    """
    store = Store(folder / STORE)
    columns = tuple(
        TableColumn(suite.probe, column, subject or None)
        for column in probe.columns
        for subject in probe.subjects
    )
    values: dict[str, list[dict[Key, float]]] = {}
    for row in probe.rows:
        by_item = {}
        for item in probe.items:
            held = store.read(_key(suite, probe, row, item))
            if held is None:
                raise ValueError(f"{row} of {item} is not measured; run the command again")
            by_item[item] = held
        values[row] = [
            {
                (item, _SEED, column.subject or ""): held[column.subject or ""][column.column.name]
                for item, held in by_item.items()
            }
            for column in columns
        ]
    return summary_of(suite.name, columns, values, suite.spread, of)


def _key(suite: ProbeSuite, probe: Probe, row: str, item: str) -> UnitKey:
    fingerprint = hashlib.sha256(probe.identity.encode()).hexdigest()
    return UnitKey(row, suite.probe, item, _SEED, fingerprint)
