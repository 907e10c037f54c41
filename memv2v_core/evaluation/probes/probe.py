"""What a probe is: it measures inside a model, item by item, and fills rows of a table."""

from collections.abc import Mapping
from typing import Protocol

from ..metrics.metric import Column

# By row, subject and name of a column.
Rows = Mapping[str, dict[str, dict[str, float]]]


class Probe(Protocol):
    """Measures rows of a table.

    identity: all that decides its values. items: what is measured, such as scenes or repeats; a
    mean is over them. rows: names of the table's rows. subjects: parts of a column, such as numbers
    of memories; [""] where a column has none.
    """

    identity: str
    items: tuple[str, ...]
    rows: tuple[str, ...]
    subjects: tuple[str, ...]
    columns: tuple[Column, ...]

    def measure(self, item: str) -> Rows:
        """The values of every row for one item."""
        ...
