"""What an evaluation found."""

from dataclasses import dataclass

from ..pictures.contact_sheet import SheetRow
from .claims import Claim

# One value a measure, of one scene or clip.
Measures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Claims, the measures of every scene or clip that they were made of, rows for a contact sheet,
    and the seconds it took.
    """

    claims: tuple[Claim, ...]
    scenes: tuple[Measures, ...]
    sheet: tuple[SheetRow, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no claim misses its bar."""
        return all(claim.passed is not False for claim in self.claims)
