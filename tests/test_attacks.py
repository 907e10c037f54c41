"""The attacks of `benchmarks/` on a small scale: their detectors detect, and the readers hold."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
CORE_TARGETS = ("session entry", "session manifest", "adapter", "cameras: transforms")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the attacks read /proc"),
]


def fuzz(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(FUZZ), *words], capture_output=True, text=True)


def test_every_class_of_outcome_is_detected() -> None:
    ran = fuzz("--check-detectors")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "18 of 18 faults are put into their class" in ran.stdout


def test_a_seeded_attack_on_the_core_finds_nothing() -> None:
    ran = fuzz("--per-target", "15", "--seed", "2", "--target", *CORE_TARGETS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Some files are read and some refused: an attack that changes nothing would prove nothing.
    *_, total = [line for line in ran.stdout.splitlines() if line.startswith("| all | 60 |")]
    equal, refused = (int(cell) for cell in total.split("|")[3:5])
    assert refused > 30
    assert equal + refused <= 60


def test_a_lost_a_changed_and_a_returned_entry_are_detected() -> None:
    script = FUZZ.with_name("reliability.py")
    ran = subprocess.run([sys.executable, str(script), "detectors"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("| yes |") == 7
