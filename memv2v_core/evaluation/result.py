"""The result of an evaluation."""

from dataclasses import dataclass

from ..pictures.contact_sheet import SheetRow
from .claims import Claim

# The value of every measure, for one scene or clip.
Measures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of an evaluation.

    scenes: the measures of every scene or clip that the claims were made of. sheet: rows for a
    contact sheet. seconds: time that it took.
    """

    claims: tuple[Claim, ...]
    scenes: tuple[Measures, ...]
    sheet: tuple[SheetRow, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no claim misses its bar."""
        return all(claim.passed is not False for claim in self.claims)
