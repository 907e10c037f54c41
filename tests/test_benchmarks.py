"""Benchmarks take minutes and run by hand; here each is imported, so that no name it needs goes
missing unseen. What a decision rests on is tested too.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from memv2v_core.builtin.bundle import Bundle, load_bundle

FOLDER = Path(__file__).parents[1] / "benchmarks"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_finds_all_it_imports(path: Path) -> None:
    assert callable(_load(path).main)


@pytest.fixture(scope="module")
def sparse() -> ModuleType:
    """The benchmark of sparse context; importing it makes its folder findable."""
    return _load(FOLDER / "sparse_context.py")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("novel_view")


@pytest.mark.parametrize(
    "name",
    [
        *("frames 1/2", "frames 1/4", "blocks of 64, 1/2", "tiles of 16, 1/4"),
        "tiles of 4, 1/2, one choice a frame",
    ],
)
def test_sparse_context_sees_as_many_tokens_as_its_flops_count(
    sparse: ModuleType, bundle: Bundle, name: str
) -> None:
    costs = importlib.import_module("benchmarks.sparsity.costs")
    layout, pruning = sparse.small_layout(bundle, num_memories=1), sparse.KINDS[name]
    assert (layout.num_target_tokens, layout.num_tokens) == (576, 1296)
    choice = pruning.choice(layout, 6)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1296, 256, generator=generator)
    query, key = (torch.randn(1, 4, n, 64, generator=generator) for n in (576, 720))
    choice.look(bundle.backbone, 0, x)
    counts = choice.kept(0, query, key).sum(-1).double()
    # The last of the blocks of 64 is short, and counts as a whole one.
    assert counts.max() - counts.min() <= 48
    assert counts.mean().item() == pytest.approx(costs.num_kept(layout, pruning), abs=24)


@pytest.mark.parametrize("kind", ["FRAMES", "BLOCKS", "TILES"])
def test_sparse_context_with_everything_kept_is_dense_attention(
    sparse: ModuleType, bundle: Bundle, kind: str
) -> None:
    layout, make = sparse.small_layout(bundle, num_memories=1), getattr(sparse, kind)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1296, 256, generator=generator)
    rope = bundle.backbone.rope(torch.rand(1, 1296, 3, generator=generator))

    def attend(share: float) -> torch.Tensor:
        view = sparse.PrunedView(bundle.backbone.model, layout, make(share))
        return view.self_attention(2, x, rope)

    dense = bundle.backbone.self_attention(2, x, rope)
    torch.testing.assert_close(attend(1.0), dense)
    # Half of the context changes the target, and no clean token.
    half = attend(0.5)
    assert (half - dense)[:, :576].abs().amax() > 1e-3
    torch.testing.assert_close(half[:, 576:], dense[:, 576:])


def test_sparse_context_runs_quickly(
    sparse: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "table.md"
    arguments = ["sparse_context.py", "view", "--quick", "--output", str(output)]
    monkeypatch.setattr("sys.argv", arguments)
    sparse.main()
    rows = [line.split(" | ") for line in output.read_text().splitlines() if " dB " in line]
    by_arm = {row[0].removeprefix("| "): row for row in rows}
    assert tuple(by_arm) == sparse.QUICK
    assert by_arm["nothing pruned"][2] == "1.000 (1.000 to 1.000)"
    flops = {arm: float(row[-1].removesuffix(" |")) for arm, row in by_arm.items()}
    assert flops["nothing pruned"] == 1
    assert flops["reuse 4, frames 1/2, chosen at a refresh"] < flops["reuse 4"] < 0.5


def test_the_bank_runs_small_and_agrees_with_the_literal_reading(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _load(FOLDER / "bank.py").main(["--quick", "--threads", "1"]) == 0
    table = capsys.readouterr().out
    assert "literal Alg. 1, 24 mixed paths" in table
    assert "save it in a session of 24" in table
    assert "FAILED" not in table


def test_reuse_measures_schedules_on_held_out_scenes(tmp_path: Path) -> None:
    output = tmp_path / "reuse.md"
    arguments = ["view", "--scenes", "2", "--steps", "2", "--every", "2", "--output", str(output)]
    _load(FOLDER / "reuse.py").main(arguments)
    lines = output.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("2 steps, 2 scenes or clips")
    cells = {
        line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines[2:] if "|" in line
    }
    assert cells["every call"][1] == "2"
    assert cells["every 2"][1] == "1"
    assert cells["every call"][4].startswith("1.0000 (1.0000 to 1.0000)")
    assert not cells["every 2"][4].startswith("1.0000 (1.0000 to 1.0000)")
