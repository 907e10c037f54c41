"""What a training run costs, in words and tables, before anything is loaded."""

from ..config.run import TrainConfig
from .compute import Work, Works, mean_flops, num_passes, step_flops, typical, worst
from .memory import RESERVE
from .phase import GIB, TERA, Machine, PhaseCost, divides, phase_cost
from .tables import aligned

# Numbers of GPUs for which hours are shown.
_FLEETS = (1, 8, 32)
_STATE = ("frozen", "trained", "gradients", "moments", "average", "copies", "total")
_TOO_MUCH = (
    "! more than {:g} GiB: lower the share of 1x2x2 in `kernels`, the memories or the frames, train"
    " low-rank changes, or divide the weights among GPUs with FSDP2"
)
_PREFIXES = ((1e18, "EFLOP"), (1e15, "PFLOP"), (TERA, "TFLOP"), (1e9, "GFLOP"))
# Larger numbers stay in TFLOP, so that the lines of a table have one unit.
_MOST_IN_TABLES = 999 * TERA
_NOTES = (
    "Notes",
    "- A FLOP is a multiply or an add. Embeddings, head, low-rank changes, loss and optimiser are "
    "not counted: about 1 %.",
    "- Training counts as 3 forward passes, 2 of them for the backward pass; with checkpointing 4. "
    "Frozen weights cost less, fused attention more.",
    "- The typical draw has the median number of tokens, the worst one the most. Both merge "
    "nothing; a step that merges needs less memory.",
    "- Activations are counted on tensors without numbers, with fused attention and CUDA's types. "
    f"Sums add {RESERVE / GIB:g} GiB for CUDA itself",
    "  and for gaps between tensors (assumed). No part is measured on a GPU.",
    "- Hours are for the assumed speed alone: reading data, exchange between GPUs, held-out losses "
    "and checkpoints take more.",
)


def cost_report(config: TrainConfig, machine: Machine | None = None) -> str:
    """What a run trains, computes and holds, as text.

    machine: None takes 8 GPUs of 80 GiB at 400 TFLOP/s.

    Raises: ValueError for a recipe whose base or clips have no known size.
    """
    machine = machine or Machine()
    costs = [phase_cost(phase) for phase in config.phases]
    lines = _head(costs[0])
    for i, cost in enumerate(costs):
        if len(costs) > 1:
            lines += ["", f"Phase {i + 1} of {len(costs)}"]
        for part in (_clips(cost), _work(cost), _length(cost, machine), _state(cost, machine)):
            lines += ["", *part]
        for kind in cost.works:
            lines += ["", *_memory(cost, kind, machine)]
    return "\n".join([*lines, "", *_notes(config)]) + "\n"


def _head(cost: PhaseCost) -> list[str]:
    weights, base = cost.weights, cost.config.base
    name = base.size or base.name or "a new model"
    counts = {**weights.trained, "all trained": weights.num_trained, "frozen": weights.frozen}
    return [
        f"{cost.config.task} on {name} ({cost.origin})",
        "",
        "Parameters",
        *aligned([(part, f"{count / 1e6:,.1f} M") for part, count in counts.items()]),
    ]


def _clips(cost: PhaseCost) -> list[str]:
    whole, adapter = cost.clips.whole, cost.config.adapter
    size = f"{whole.target_frames} x {whole.height} x {whole.width}"
    return [
        f"Latents {size} ({cost.clips.origin}); {adapter.attention.replace('_', '-')} attention"
    ]


def _work(cost: PhaseCost) -> list[str]:
    passes = num_passes(cost.config)
    lines: list[str] = []
    for kind in cost.works:
        size, unit = _prefix(min(max(work.flops for work in kind.each), _MOST_IN_TABLES))
        titles = ("memories", "steps", "typical", "worst", "mean", "worst", "mean training")
        rows = [_work_row(str(count), kind.of_count(count), passes, size) for count in kind.counts]
        rows.append(_work_row("all", kind.each, passes, size))
        lines += [
            *([""] if lines else []),
            f"Tokens of a row{_of(cost, kind)} (typical, worst), and {unit} of a forward pass "
            f"(mean, worst); training is {passes} passes",
            *aligned([titles, *rows]),
        ]
        if len(cost.works) > 1:
            lines.append(f"{kind.share:.0%} of the steps, with {kind.rows} rows each")
    return lines


def _work_row(name: str, works: tuple[Work, ...], passes: int, size: float) -> tuple[str, ...]:
    mean, most = mean_flops(works), max(work.flops for work in works)
    return (
        name,
        f"{sum(work.draw.probability for work in works):.0%}",
        f"{typical(works).tokens:,}",
        f"{worst(works).tokens:,}",
        *(f"{value / size:,.1f}" for value in (mean, most, passes * mean)),
    )


def _length(cost: PhaseCost, machine: Machine) -> list[str]:
    optim, per_step = cost.config.optim, step_flops(cost.config, cost.works)
    rows = " or ".join(str(kind.rows) for kind in cost.works)
    lines = [f"A step of {rows} rows: {_flops(per_step)} on average"]
    if optim.steps is None:
        return [*lines, f"Steps follow each other until {optim.minutes:g} minutes of the run"]
    hours = per_step * optim.steps / (machine.tflops * TERA) / 3600
    lines.append(
        f"{optim.steps} steps: {_flops(per_step * optim.steps)}, {_hours(hours)} GPU-hours at "
        f"{machine.tflops:g} TFLOP/s (assumed)"
    )
    for gpus in sorted({*_FLEETS, machine.gpus}):
        if divides(cost.works, gpus):
            lines.append(f"  {_hours(hours / gpus)} h on {gpus} GPU{'s' * (gpus > 1)}")
    return lines


def _state(cost: PhaseCost, machine: Machine) -> list[str]:
    fleets = cost.fleets(machine.gpus)
    states = [cost.state(fleet) for fleet in fleets]
    rows = [(name, *(f"{getattr(state, name) / GIB:.2f}" for state in states)) for name in _STATE]
    resident = cost.config.optim.resident_blocks
    notes = ["frozen weights of blocks in fp8"] if cost.config.base.has_fp8 else []
    notes += [f"{resident} blocks on the GPU at a time"] if resident is not None else []
    what = f" ({', '.join(notes)})" if notes else ""
    return [
        f"GiB of a GPU between steps{what}",
        *aligned([("", *(fleet.title for fleet in fleets)), *rows]),
    ]


def _memory(cost: PhaseCost, kind: Works, machine: Machine) -> list[str]:
    fleets = cost.fleets(machine.gpus)
    titles = ("memories", "draw", "tokens", "activations", *(each.title for each in fleets))
    rows, is_too_much = [], False
    for count in kind.counts:
        works = kind.of_count(count)
        draws = [("typical", typical(works)), ("worst", worst(works))]
        # Where all draws are alike, one line is enough.
        for name, work in draws if draws[0][1].tokens < draws[1][1].tokens else draws[1:]:
            needs = [cost.bytes_on(fleet, kind, work) / GIB for fleet in fleets]
            is_too_much |= max(needs) > machine.gib
            activations = cost.activation_bytes(kind, work) / GIB
            marked = (f"{need:.1f}{'!' if need > machine.gib else ''}" for need in needs)
            rows.append((str(count), name, f"{work.tokens:,}", f"{activations:.1f}", *marked))
    at_once = cost.rows_at_once(kind)
    what = f", {at_once} row{'s' * (at_once > 1)} at once{_of(cost, kind)}"
    lines = [f"GiB of a GPU at the fullest moment{what}", *aligned([titles, *rows])]
    return lines + ([_TOO_MUCH.format(machine.gib)] if is_too_much else [])


def _of(cost: PhaseCost, kind: Works) -> str:
    return f" of {kind.title}" if len(cost.works) > 1 else ""


def _notes(config: TrainConfig) -> list[str]:
    notes = list(_NOTES)
    if config.worlds is not None and config.worlds.own_share > 0:
        notes.append("- The passes in which the model draws memories itself are not counted.")
    return notes


def _prefix(flops: float) -> tuple[float, str]:
    return next((each for each in _PREFIXES if flops >= each[0]), _PREFIXES[-1])


def _flops(value: float) -> str:
    size, unit = _prefix(value)
    return f"{value / size:.4g} {unit}"


def _hours(value: float) -> str:
    return f"{value:.1f}" if value >= 0.1 else "less than 0.1"
