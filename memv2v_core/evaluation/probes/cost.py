"""Figs. 9 and 17: FLOPs, tokens and time of one forward against the number of memories.

FLOPs and tokens are counted (`tokens.cost`); the time is that of a real forward on this device,
with clean tokens made beforehand as in sampling and computed anew in the forward: reuse between
steps is measured elsewhere. All rows are timed one after another in every repeat.
"""

import time
from dataclasses import dataclass, field
from functools import cached_property

import torch

from ...cache.entry import MemoryEntry
from ...cameras.trajectory import static_trajectory
from ...model.memory_inputs import MemoryInputs
from ...model.memory_model import CleanTokens, memory_forward, tokenize_clean
from ...retrieval.selection import RankedEntry, Retrieval
from ...sampling.turn import Turn
from ...tokens.budget import BudgetConfig, TokenPlan, plan_tokens
from ...tokens.cost import Cost, plan_costs
from ..metrics.metric import Column
from ..report import machine
from ..suites.probe_suite import CostConfig
from .networks import FLOP_UNITS, MeasuredNetwork, measured_network
from .probe import Rows

UNIFORM, DYNAMIC, MERGED = "all 1x2x2", "dynamic tokens", "dynamic tokens, merged"
SECONDS, TOKENS = "seconds", "tokens"
# Of a step that reuses what it kept of source and memories.
REUSED = "reused"
_TIMESTEP = 500.0


@dataclass(frozen=True, eq=False)
class _Forward:
    """A forward with some memories, ready to be timed."""

    network: MeasuredNetwork
    turn: Turn
    cost: Cost
    noisy: torch.Tensor

    @cached_property
    def inputs(self) -> MemoryInputs:
        device, dtype = self.noisy.device, self.network.dtype
        return self.turn.inputs(lambda latent: latent.to(device, dtype))

    @cached_property
    def clean(self) -> CleanTokens:
        backbone, adapter = self.network.backbone, self.network.adapter
        return tokenize_clean(backbone, adapter, self.inputs, self.noisy.shape)

    @torch.no_grad()
    def seconds(self) -> float:
        network, device = self.network, self.noisy.device
        timestep = torch.full((1,), _TIMESTEP, device=device)
        inputs, clean = self.inputs, self.clean
        _synchronise(device)
        start = time.perf_counter()
        memory_forward(
            network.backbone, network.adapter, self.noisy, timestep, network.context, inputs, clean
        )
        _synchronise(device)
        return time.perf_counter() - start


@dataclass(eq=False)
class ForwardCost:
    """A `Probe` of one network on one device."""

    config: CostConfig
    device: torch.device
    columns: tuple[Column, ...] = field(init=False)
    rows: tuple[str, ...] = field(default=(UNIFORM, DYNAMIC, MERGED), init=False)

    def __post_init__(self) -> None:
        self.network = measured_network(self.config, self.device)
        # A time belongs to one machine.
        where = machine(self.device) if self.config.is_timed else "any machine"
        self.identity = f"cost on {where}, {self.config}"
        # What is counted is equal in every repeat.
        num_repeats = self.config.num_repeats if self.config.is_timed else 1
        self.items = tuple(f"repeat_{i:02d}" for i in range(num_repeats))
        unit = self.network.flop_unit
        names = (unit, f"{unit} {REUSED}", TOKENS, *((SECONDS,) if self.config.is_timed else ()))
        self.columns = tuple(
            Column(name, is_better_high=False, is_counted=name != SECONDS) for name in names
        )
        self.subjects = tuple(map(str, self.config.memories))
        self.is_warm = not self.config.is_timed

    def measure(self, item: str) -> Rows:
        assert item in self.items, "a repeat is one of the probe's"
        if not self.is_warm:
            # A first forward plans its kernels and fills caches.
            self._forward(UNIFORM, max(self.config.memories)).seconds()
            self.is_warm = True
        return {
            row: {str(count): self._values(row, count) for count in self.config.memories}
            for row in self.rows
        }

    def _values(self, row: str, count: int) -> dict[str, float]:
        forward = self._forward(row, count)
        unit = self.network.flop_unit
        values = {
            unit: forward.cost.flops / FLOP_UNITS[unit],
            f"{unit} {REUSED}": forward.cost.reuse_flops / FLOP_UNITS[unit],
            TOKENS: float(forward.cost.tokens_in),
        }
        return values | ({SECONDS: forward.seconds()} if self.config.is_timed else {})

    def _forward(self, row: str, count: int) -> _Forward:
        network = self.network
        plan = self._plan(row, count)
        path = static_trajectory(network.base.ratios.temporal * (network.latent[0] - 1) + 1)
        turn = Turn(network.base, self._video(0), path, path, plan)
        cost, _ = plan_costs(
            plan, network.latent, network.shape, network.base.mode, network.base.has_source_tokens
        )
        noisy = torch.randn(1, *turn.latent_shape, generator=torch.Generator().manual_seed(1))
        return _Forward(network, turn, cost, noisy.to(self.device, network.dtype))

    def _plan(self, row: str, count: int) -> TokenPlan:
        base = self.network.base
        num_frames = base.ratios.temporal * (self.network.latent[0] - 1) + 1
        path = static_trajectory(num_frames)
        entries = [
            MemoryEntry.of(self._video(i + 1), path, base.model_name, num_frames, i + 1, float(i))
            for i in range(count)
        ]
        ranked = tuple(RankedEntry(entry, 1.0 - i / 100) for i, entry in enumerate(entries))
        budget = BudgetConfig(top_kernel=2, rest_kernel=2) if row == UNIFORM else BudgetConfig()
        is_merged = row == MERGED
        return plan_tokens(
            Retrieval(None, ranked),
            budget,
            "merge" if is_merged else "keep",
            self.config.share if is_merged else 0.0,
        )

    def _video(self, seed: int) -> torch.Tensor:
        shape = (self.network.base.ratios.channels, *self.network.latent)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
