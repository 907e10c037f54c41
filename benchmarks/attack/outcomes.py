"""The classes of outcomes, and the rules that put one reading into its class."""

import re
from collections.abc import Collection

from .mutations.places import SECRET
from .target import Reading, Report, Target

# Good, then neutral, then bad ones from mild to grave.
GOOD = ("equal", "refused")
NEUTRAL = ("changed",)
FAILING = (
    *("bare", "leak", "unnamed", "raw", "silent", "lost"),
    *("code", "memory", "hang", "crash"),
)
CLASSES = (*GOOD, *NEUTRAL, *FAILING)
MEANINGS = {
    "equal": "read, and equal to the original",
    "refused": "one sentence names the file and the remedy; nothing else is affected",
    "changed": "read with other numbers; the format has no checksum that could tell",
    "bare": "names the file, but no remedy after a semicolon",
    "leak": "a message repeats private content of a file",
    "unnamed": "an error or report without the file's name",
    "raw": "not a ValueError, several lines, or over 1,000 characters",
    "silent": "read with other values than the original, and nothing said",
    "lost": "an intact entry is not readable because another file is broken",
    "code": "foreign code, a process, a connection, or a write outside the folder",
    "memory": "more than 1 GiB above the start",
    "hang": "no answer within 10 seconds",
    "crash": "the process died",
}
MAX_CHARACTERS = 1000
_REMEDY = re.compile(r"; *\S+ +\S+")


def worst(*classes: str) -> str:
    """The gravest of some classes."""
    return max(classes, key=CLASSES.index)


def class_of_report(report: Report, names: Collection[str]) -> str:
    """The class of one error or report.

    names: of the files that the report may be about.
    """
    text = report.text
    if SECRET in text:
        return "leak"
    if report.kind == "MemoryError" or "can't allocate memory" in text:
        return "memory"
    if report.kind not in ("report", "ValueError"):
        return "raw"
    if "\n" in text.strip() or len(text) > MAX_CHARACTERS:
        return "raw"
    if not any(name in text for name in names):
        return "unnamed"
    return "refused" if _REMEDY.search(text) else "bare"


def class_of_error(error: BaseException, names: Collection[str]) -> str:
    """The class of an exception that came out of a reader."""
    return class_of_report(Report(type(error).__name__, str(error)), names)


def class_of_reading(
    target: Target, original: Reading, found: Reading, touched: Collection[str], names: list[str]
) -> tuple[str, str]:
    """The class of a reading, and why.

    touched: the keys of `value` whose file was changed. names: files that reports may name.
    """
    new = [report for report in found.reports if report not in original.reports]
    graded = [(class_of_report(report, names), report.text) for report in new]
    if target.is_session:
        lost = [
            key
            for key, digest in original.value.items()
            if key.startswith("entry ") and key not in touched and found.value.get(key) != digest
        ]
        if lost:
            return "lost", f"{', '.join(lost)}; reports: {[text for _, text in graded]}"
    bad = [grade for grade in graded if grade[0] in FAILING]
    if bad:
        return max(bad, key=lambda grade: CLASSES.index(grade[0]))
    if found.value == original.value:
        return "equal", ""
    if graded:
        return graded[0]
    keys = sorted(
        key
        for key in {*original.value, *found.value}
        if original.value.get(key) != found.value.get(key)
    )
    return ("silent" if target.has_checksum else "changed"), f"differs: {', '.join(keys)[:300]}"
