"""What must be shown about long videos, each with its bar. Intervals are over clips, arms
paired."""

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
    """Every claim of the long-video table, in its order."""
    return (
        *agreement_claims(measured, "one_shot", "one shot", (_ALONE, _LED, _FIFO, _MEMORY, _GIVEN)),
        *keyframe_claims(measured),
        *fifo_claims(measured),
        *quality_claims(measured),
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
    """Segments differ at most half as much with memory as alone, in colour and, where it was open,
    in shape.
    """
    claims = []
    for what in ("colour", "shape"):
        start = f"{family}_{what}"
        title = f"{label}: {what} difference"
        claims += [
            reported(f"{title}, {_WORDS[arm]}", "", measured.mean(f"{start}_{arm}")) for arm in arms
        ]
        claims += [
            reported(
                f"{title}, one true answer through the codec", "", measured.mean(f"{start}_truth")
            ),
            reported(
                f"{title}, a true answer for each segment", "", measured.mean(f"{start}_answers")
            ),
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
    """How much of the agreement is memory's, where segments alone have keyframes too."""
    return tuple(
        reported(
            f"one shot: {what} difference: memory over alone, led by keyframes",
            "",
            measured.ratio(f"one_shot_{what}_memory", f"one_shot_{what}_led"),
        )
        for what in ("colour", "shape")
    )


def fifo_claims(measured: Measured) -> tuple[Claim, ...]:
    """FIFO agrees less than memory does."""
    return tuple(
        helps(
            f"one shot: {what} difference, FIFO minus memory",
            measured.difference(f"one_shot_{what}_fifo", f"one_shot_{what}_memory"),
        )
        for what in ("colour", "shape")
    )


def quality_claims(measured: Measured) -> tuple[Claim, ...]:
    """Agreement costs neither the rest of the picture nor the edit itself."""
    psnr, share = "one_shot_background_psnr", "one_shot_edited_share"
    return (
        *(
            reported(
                f"background PSNR to the source, {_WORDS[arm]}",
                "dB",
                measured.mean(f"{psnr}_{arm}"),
            )
            for arm in (_ALONE, _FIFO, _MEMORY)
        ),
        reported("background PSNR of the codec's round trip", "dB", measured.mean(f"{psnr}_truth")),
        within(
            "background PSNR: memory minus alone",
            "dB",
            measured.difference(f"{psnr}_memory", f"{psnr}_alone"),
            -0.3,
        ),
        reported("segments that were edited at all, alone", "", measured.mean(f"{share}_alone")),
        reported("segments that were edited at all, FIFO", "", measured.mean(f"{share}_fifo")),
        within(
            "segments that were edited at all, memory", "", measured.mean(f"{share}_memory"), 0.9
        ),
    )


def leak_claims(measured: Measured, family: str, label: str) -> tuple[Claim, ...]:
    """The first shot's colour appears on the other shot's object no more often with memory than
    without.
    """
    leak = f"{family}_leak"
    return (
        *(
            reported(f"{label}: leak rate, {_WORDS[arm]}", "", measured.mean(f"{leak}_{arm}"))
            for arm in (_ALONE, _PAPER, _MEMORY)
        ),
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
