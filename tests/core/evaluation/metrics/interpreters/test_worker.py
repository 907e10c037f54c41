"""A worker runs in another Python, stays open, gets arrays as they are, and tells how it failed."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memv2v_core.evaluation.metrics.interpreters import worker
from memv2v_core.evaluation.metrics.interpreters.worker import Worker

# Each starts a Python that imports torch.
pytestmark = pytest.mark.slow
HUB: dict[str, Any] = {"repositories": {}, "files": {}}
SCRIPT = """
import os, sys
import numpy as np
import torch

calls = []


def start(settings):
    print("noise on the output", flush=True)
    os.write(1, b"noise below Python\\n")

    def answer(request, arrays):
        calls.append(request)
        if request.get("fails"):
            raise RuntimeError("the network is broken: " + request["fails"])
        if request.get("dies"):
            os._exit(7)
        if request.get("load"):
            return {"kind": type(torch.hub.load(*request["load"])).__name__}
        if request.get("url"):
            return {"sum": float(torch.hub.load_state_dict_from_url(request["url"])["w"].sum())}
        return {
            "calls": len(calls),
            "process": os.getpid(),
            "variables": {name: os.environ.get(name) for name in request.get("variables", [])},
            "dtypes": {name: str(array.dtype) for name, array in arrays.items()},
            "sums": {name: float(array.astype(np.float64).sum()) for name, array in arrays.items()},
            "here": [place for place in sys.path if place.endswith("scripts")],
        }

    return answer, {"version": "1", "prefix": sys.prefix, "seen": settings["seen"]}
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that the worker finds among its own."""
    monkeypatch.setenv("MEMV2V_METRICS_TRIAL_PYTHON", sys.executable)
    place = tmp_path / "trial.py"
    place.write_text(SCRIPT)
    return place


def opened(script: Path, **hub: Any) -> Worker:
    # A full path stands where the name of a script does.
    return Worker("trial", str(script), {"seen": [1, "two"], "hub": {**HUB, **hub}})


def test_arrays_arrive_as_they_are_and_noise_does_no_harm(script: Path) -> None:
    trial = opened(script)
    assert trial.facts == {"version": "1", "prefix": sys.prefix, "seen": [1, "two"]}
    arrays = {
        "bytes": np.arange(256, dtype=np.uint8).reshape(4, 64),
        "numbers": np.array([0.1, 1e-30, -3.5], np.float32),
    }
    reply = trial.ask({}, arrays)
    assert reply["dtypes"] == {"bytes": "uint8", "numbers": "float32"}
    assert reply["sums"]["bytes"] == 255 * 128
    assert reply["sums"]["numbers"] == float(arrays["numbers"].astype(np.float64).sum())
    assert not list(trial.folder.glob("*.npy"))
    trial.close()
    assert not trial.folder.exists()


def test_one_process_answers_a_whole_run(script: Path) -> None:
    trial = opened(script)
    replies = [trial.ask({}) for _ in range(3)]
    assert [reply["calls"] for reply in replies] == [1, 2, 3]
    assert {reply["process"] for reply in replies} == {trial._process.pid}
    assert replies[0]["process"] != os.getpid()
    trial.close()
    assert trial._process.returncode == 0


def test_this_python_and_its_ranks_are_kept_from_it(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(script.parent))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("MEMV2V_ANYTHING", "stays")
    trial = opened(script)
    names = ["PYTHONPATH", "RANK", "MEMV2V_ANYTHING", "HF_HUB_OFFLINE"]
    reply = trial.ask({"variables": names})
    assert reply["variables"] == dict(zip(names, (None, None, "stays", "1"), strict=True))
    assert reply["here"] == []


def test_an_error_of_the_script_ends_it_with_its_last_lines(script: Path) -> None:
    trial = opened(script)
    with pytest.raises(ValueError, match=r"the metric trial ended in .*\(exit code 1\)") as caught:
        trial.ask({"fails": "tensor 5"})
    assert "RuntimeError: the network is broken: tensor 5" in str(caught.value)
    assert "\n" not in str(caught.value)
    # It stays ended, and says the same.
    with pytest.raises(ValueError, match="the network is broken: tensor 5"):
        trial.ask({})


def test_a_process_that_dies_is_told_with_its_code(script: Path) -> None:
    trial = opened(script)
    with pytest.raises(ValueError, match=r"\(exit code 7\); its last lines: noise"):
        trial.ask({"dies": True})


def test_a_script_that_cannot_start_is_told(script: Path) -> None:
    script.write_text("import no_such_package_anywhere\n")
    with pytest.raises(ValueError, match="No module named 'no_such_package_anywhere'"):
        opened(script)


def test_a_python_that_does_not_run_is_told(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_bytes(b"no program")
    broken.chmod(0o755)
    monkeypatch.setenv("MEMV2V_METRICS_TRIAL_PYTHON", str(broken))
    with pytest.raises(ValueError, match=r"trial (could not start|ended in) .*python"):
        opened(script)


def test_torch_hub_reads_the_users_files_and_downloads_nothing(
    script: Path, tmp_path: Path
) -> None:
    import torch

    torch.save({"w": torch.ones(5)}, tmp_path / "net.pth")
    (tmp_path / "hubconf.py").write_text(
        "dependencies = []\n\n\ndef make(**kwargs):\n    return complex(1)\n"
    )
    hub = {
        "repositories": {"someone/code": str(tmp_path)},
        "files": {"net.pth": str(tmp_path / "net.pth")},
    }
    trial = opened(script, **hub)
    assert trial.ask({"url": "https://example.org/a/net.pth?x=1"}) == {"sum": 5.0}
    assert trial.ask({"load": ["someone/code:main", "make"]}) == {"kind": "complex"}
    with pytest.raises(ValueError, match="nothing is downloaded, and no file stands for https"):
        trial.ask({"url": "https://example.org/a/other.pth"})
    second = opened(script, **hub)
    with pytest.raises(ValueError, match="no folder stands for else/code"):
        second.ask({"load": ["else/code", "make"]})


def test_every_script_of_the_pack_is_beside_the_server() -> None:
    from memv2v_core.evaluation.metrics import met3r, vbench
    from memv2v_core.evaluation.metrics.poses import depth_anything

    there = {path.name for path in worker._SCRIPTS.glob("*.py")} - {"serving.py"}
    assert there == {vbench.SCRIPT, met3r.SCRIPT, depth_anything.SCRIPT}
