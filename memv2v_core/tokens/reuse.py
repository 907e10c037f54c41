"""How often clean tokens are computed anew, as a user asks for it. See `sampling.reuse`."""

from dataclasses import dataclass

from ..vocabulary import KeptPrecision

# `refresh_every` that takes what was measured for the base.
AUTOMATIC = 0


@dataclass(frozen=True)
class ReuseConfig:
    """How clean tokens are reused.

    refresh_every: 1 refreshes in every call, n in every n-th one, and 0 takes what was measured for
    the base. Tokens that never change are refreshed once for every n but 1.
    precision: of what is kept.

    Raises: ValueError for a negative number.
    """

    refresh_every: int = AUTOMATIC
    precision: KeptPrecision = "full"

    def __post_init__(self) -> None:
        if self.refresh_every < 0:
            raise ValueError(
                f"refresh_every got {self.refresh_every}, wanted 0 for automatic, 1 for every call "
                "of the model, or a larger number to refresh more rarely"
            )

    def calls_between(self, measured: int, is_constant: bool) -> int | None:
        """Calls from one refresh to the next: 1 never reuses, None refreshes once.

        measured: the number for the base. is_constant: whether clean tokens never change.
        """
        if is_constant and self.refresh_every != 1:
            return None
        return self.refresh_every or measured


def kept_value_bytes(precision: KeptPrecision, computed: int) -> int:
    """Bytes of a kept number whose computed one has `computed` bytes.

    The scales of fp8, one for each token and head, are not counted.
    """
    return computed if precision == "full" else 1
