"""The claims about long videos, each with its bar.

Intervals are over clips; arms are paired.
"""

from ..claims import Claim, Measured, helps, no_harm, reported, within

_ALONE, _LED, _MEMORY, _FIFO, _PAPER, _GIVEN = "alone", "led", "memory", "fifo", "paper", "given"
_WORDS = {
    _ALONE: "segments alone",
    _LED: "segments alone, led by keyframes",
    _MEMORY: "memory",
    _FIFO: "FIFO",
    _PAPER: "memory as in the paper",
    _GIVEN: "memory of true edits",
}


def long_video_claims(measured: Measured) -> tuple[Claim, ...]:
    """Every claim of the long-video table, in its order.

    A base without keyframes, or without FIFO, has no claims about them.
    """
    has_led, has_fifo = (measured.has(f"one_shot_colour_{arm}") for arm in (_LED, _FIFO))
    measures = {_LED: has_led, _FIFO: has_fifo}
    arms = tuple(arm for arm in (_ALONE, _LED, _FIFO, _MEMORY, _GIVEN) if measures.get(arm, True))
    return (
        *agreement_claims(measured, "one_shot", "one shot", arms),
        *(keyframe_claims(measured) if has_led else ()),
        *(fifo_claims(measured) if has_fifo else ()),
        *quality_claims(measured, has_fifo),
        *agreement_claims(measured, "away", "object back after 3 segments", (_ALONE, _MEMORY)),
        *agreement_claims(
            measured, "two_shot", "two shots, within each", (_ALONE, _PAPER, _MEMORY)
        ),
        *leak_claims(measured, "two_shot", "two shots"),
        *agreement_claims(measured, "return", "first shot again", (_ALONE, _PAPER, _MEMORY)),
        *leak_claims(measured, "return", "shot between"),
    )


def agreement_claims(
    measured: Measured, family: str, label: str, arms: tuple[str, ...]
) -> tuple[Claim, ...]:
    """Segments with memory must differ at most half as much as segments alone.

    Colour is compared, and shape where the instruction left it open.
    """
    claims = []
    for what in ("colour", "shape"):
        start = f"{family}_{what}"
        title = f"{label}: {what} difference"
        # Step 1: every arm, for the reader.
        claims += [
            reported(f"{title}, {_WORDS[arm]}", "", measured.mean(f"{start}_{arm}")) for arm in arms
        ]
        # Step 2: the scale (perfect edits with one answer, and with another answer per segment),
        # then the bars.
        claims += [
            reported(
                f"{title}, one true answer through the codec", "", measured.mean(f"{start}_truth")
            ),
            reported(
                f"{title}, a true answer for each segment", "", measured.mean(f"{start}_answers")
            ),
            # The bar of the task: memory halves the difference.
            within(
                f"{title}: memory over alone",
                "",
                measured.ratio(f"{start}_memory", f"{start}_alone"),
                high=0.5,
            ),
            helps(
                f"{title}: alone minus memory",
                measured.difference(f"{start}_alone", f"{start}_memory"),
            ),
        ]
    return tuple(claims)


def keyframe_claims(measured: Measured) -> tuple[Claim, ...]:
    """How much of the agreement comes from memory.

    Segments alone get keyframes here too, so keyframes explain no difference.
    """
    return tuple(
        reported(
            f"one shot: {what} difference: memory over alone, led by keyframes",
            "",
            measured.ratio(f"one_shot_{what}_memory", f"one_shot_{what}_led"),
        )
        for what in ("colour", "shape")
    )


def fifo_claims(measured: Measured) -> tuple[Claim, ...]:
    """FIFO must agree less than memory does."""
    return tuple(
        helps(
            f"one shot: {what} difference, FIFO minus memory",
            measured.difference(f"one_shot_{what}_fifo", f"one_shot_{what}_memory"),
        )
        for what in ("colour", "shape")
    )


def quality_claims(measured: Measured, has_fifo: bool = True) -> tuple[Claim, ...]:
    """Agreement must not cost quality of the rest of the picture, or the edit itself."""
    psnr, share = "one_shot_background_psnr", "one_shot_edited_share"
    baselines = (_ALONE, _FIFO) if has_fifo else (_ALONE,)
    return (
        *(
            reported(
                f"background PSNR to the source, {_WORDS[arm]}",
                "dB",
                measured.mean(f"{psnr}_{arm}"),
            )
            for arm in (*baselines, _MEMORY)
        ),
        reported("background PSNR of the codec's round trip", "dB", measured.mean(f"{psnr}_truth")),
        # The background may lose 0.3 dB at most.
        within(
            "background PSNR: memory minus alone",
            "dB",
            measured.difference(f"{psnr}_memory", f"{psnr}_alone"),
            -0.3,
        ),
        *(
            reported(
                f"segments that were edited at all, {'alone' if arm == _ALONE else 'FIFO'}",
                "",
                measured.mean(f"{share}_{arm}"),
            )
            for arm in baselines
        ),
        within(
            "segments that were edited at all, memory", "", measured.mean(f"{share}_memory"), 0.9
        ),
    )


def leak_claims(measured: Measured, family: str, label: str) -> tuple[Claim, ...]:
    """Memory must not bring the first shot's colour to the other shot's object.

    The leak may not be more frequent than without memory.
    """
    leak = f"{family}_leak"
    return (
        *(
            reported(f"{label}: leak rate, {_WORDS[arm]}", "", measured.mean(f"{leak}_{arm}"))
            for arm in (_ALONE, _PAPER, _MEMORY)
        ),
        # A leak may also happen by chance, so it is compared with segments alone.
        no_harm(
            f"{label}: leak rate, memory minus alone",
            measured.difference(f"{leak}_memory", f"{leak}_alone"),
        ),
        reported(
            f"{label}: leak rate, as in the paper minus memory",
            "",
            measured.difference(f"{leak}_paper", f"{leak}_memory"),
        ),
    )
