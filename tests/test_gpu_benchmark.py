"""The benchmark of full-size calls: whole on a CPU with narrow networks, and what happens when a
row fails or time runs out. No figure is tested.
"""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
NO_COMFYUI = "no ComfyUI: run the tests with `python dev.py test`, or set COMFYUI_PATH"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """The script; importing it makes its folder findable."""
    spec = importlib.util.spec_from_file_location("benchmark_gpu", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(gpu: ModuleType) -> ModuleType:
    return importlib.import_module("benchmarks.card.rows")


@pytest.fixture
def table(gpu: ModuleType, tmp_path: Path):
    made = importlib.import_module("benchmarks.card.table").Table
    names = {"fast": "cuDNN first", "own": "ComfyUI's order"}
    return made(tmp_path / "out", {"card": "a card"}, dict(gpu.BASES), names)


def run(*options: str, **variables: str) -> subprocess.CompletedProcess:
    """The script in a process of its own, without a card."""
    from devtools.environment import find_environment

    environment = find_environment()
    if environment is None:
        pytest.skip(NO_COMFYUI)
    variables = {**environment.variables(), "CUDA_VISIBLE_DEVICES": "", **variables}
    return subprocess.run(
        [str(environment.python), str(BENCHMARK), *options],
        env=variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.first
@pytest.mark.slow
def test_it_runs_whole_on_a_cpu_and_reuse_gives_what_a_refresh_gives(rows, tmp_path: Path) -> None:
    done = run("--small", "--output", str(tmp_path), COMFYUI_GGUF_PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    wanted = rows.all_rows(has_official=False, has_gguf=False)
    assert [row["title"] for row in written["rows"]] == [row.title for row in wanted]
    for row in written["rows"]:
        if row["place"].startswith("host"):
            assert "needs a CUDA card" in row["problem"]
            continue
        assert row["problem"] == ""
        assert row["seconds"] > 0
        # The first output of its inputs has nothing beside it.
        if row["difference"] is None:
            continue
        if row["call"] == "reuse" and row["place"] == "device fp8":
            assert 1e-5 < row["difference"] < 1e-2
        else:
            assert row["difference"] < 1e-5
    kept = [row for row in written["rows"] if row["kept_bytes"] and row["place"] == "device"]
    assert kept
    assert all(row["kept_bytes"] == row["estimated_kept_bytes"] for row in kept)
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == 6
    assert "ten memories refreshed in every 4th call" in text
    assert "GGUF: not measured: no pack ComfyUI-GGUF" in text


def test_without_a_card_it_refuses_and_names_the_remedy(tmp_path: Path) -> None:
    done = run("--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "torch sees no CUDA card, wanted one" in done.stderr
    assert "--small" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_comfyui_or_no_checkout_is_refused(tmp_path: Path) -> None:
    done = run("--small", "--comfyui", str(tmp_path))
    assert done.returncode == 2
    assert f"names {tmp_path}, which holds no ComfyUI" in done.stderr
    done = run("--small", "--official", str(tmp_path))
    assert done.returncode == 2
    assert "name a checkout of KwaiVGI/ReCamMaster" in done.stderr


def test_the_purpose_comes_first_and_no_row_comes_twice(rows) -> None:
    every = rows.all_rows(has_official=True, has_gguf=True)
    assert len(set(every)) == len(every)
    first = {(row.call, row.memories) for row in every[:8]}
    assert first == {("refresh", 0), ("official", 0), ("refresh", 10), ("reuse", 10)}
    seen = {(row.base, row.memories, row.is_merged) for row in every if row.call == "refresh"}
    assert {("recammaster", n, True) for n in (0, 1, 3, 6, 10)} <= seen
    assert {("recammaster", n, False) for n in (1, 3, 6, 10)} <= seen
    assert {row.weights for row in every} == {"bf16", "fp8", "gguf"}
    assert {row.place for row in every} == set(rows.PLACES)
    assert not [r for r in rows.all_rows(False, False) if r.call == "official"]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (TypeError("no such layer"), "failed: TypeError: no such layer"),
    ],
)
def test_a_row_that_fails_leaves_the_others(gpu, rows, table, error, problem: str) -> None:
    dropped = []

    def measure(row):
        if row.memories == 10:
            raise error
        return rows.Result(row, seconds=1.0, flops=10)

    session = SimpleNamespace(
        predicted_flops=lambda _row: 10, run=measure, drop=lambda: dropped.append(1)
    )
    clock = gpu.Clock(minutes=1.0)
    wanted = [rows.Row("recammaster", "refresh", count) for count in (0, 10, 3)]
    told: list[str] = []
    gpu.run_rows(wanted, lambda row: gpu.measured_row(session, clock, row), table, tell=told.append)
    assert [result.problem for result in table.results] == ["", problem, ""]
    assert len(dropped) == 1
    written = json.loads((table.folder / "gpu.json").read_text(encoding="utf-8"))
    assert [row["problem"] for row in written["rows"]] == ["", problem, ""]
    assert problem in told[1]
    assert f"10 memories, merged ({gpu.BASES['recammaster'].title}" in table.markdown()


def test_every_row_is_written_before_the_next_one_begins(gpu, rows, table) -> None:
    counts = []

    def measure(row):
        path = table.folder / "gpu.json"
        known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
        counts.append(len(known))
        return rows.Result(row, seconds=1.0)

    wanted = [rows.Row("lucyedit", "refresh", count) for count in (1, 3, 6)]
    gpu.run_rows(wanted, measure, table, tell=lambda _text: None)
    assert counts == [0, 1, 2]


def test_a_row_that_would_not_end_in_time_is_left_out(gpu, rows) -> None:
    clock = gpu.Clock(minutes=1.0)
    # Nothing is known before the first row.
    clock.require_time(10**20)
    row = rows.Row("recammaster", "refresh")
    clock.learn(rows.Result(row, seconds=1.0, flops=10**12))
    clock.learn(rows.Result(rows.Row("recammaster", "reuse"), seconds=99.0, flops=1))
    clock.require_time(10 * 10**12)
    with pytest.raises(gpu.Unmeasured, match="it would take about 80 s of"):
        clock.require_time(40 * 10**12)
    session = SimpleNamespace(predicted_flops=lambda _row: 40 * 10**12)
    assert gpu.measured_row(session, clock, row).problem.startswith("out of time")


def test_the_table_sets_the_orders_side_by_side_and_names_the_purpose(rows, table) -> None:
    for order, factor in (("fast", 1.0), ("own", 2.0)):
        for call, count, seconds in (
            ("refresh", 0, 2.0),
            ("official", 0, 4.0),
            ("refresh", 10, 3.0),
            ("reuse", 10, 1.0),
        ):
            row = rows.Row("recammaster", call, count, order)
            table.add(rows.Result(row, seconds=factor * seconds, peak_bytes=2**30))
    text = table.markdown()
    assert "| 10 memories, merged | 3.000 s | 6.000 s |" in text
    assert (
        "cuDNN first: ten memories refreshed in every 4th call, 1.50 s; 0.75 of ours with a source "
        "and no memory; 0.38 of official ReCamMaster with a source and no memory" in text
    )


def test_a_call_is_repeated_while_its_budget_lasts(gpu) -> None:
    measure = importlib.import_module("benchmarks.card.timing").measure
    calls: list[int] = []

    def call() -> torch.Tensor:
        calls.append(1)
        return torch.zeros(1)

    timing = measure(call, torch.device("cpu"), budget_s=60.0, most=3)
    assert (len(calls), timing.num_times, timing.peak_bytes) == (4, 3, None)
    calls.clear()
    timing = measure(call, torch.device("cpu"), budget_s=0.0)
    assert (len(calls), timing.num_times) == (1, 0)
    assert timing.seconds == timing.first_seconds
