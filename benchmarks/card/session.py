"""Measures rows one by one: builds what a row needs, and drops what it no longer needs."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.attention import sdpa_kernel

from memv2v_core.model.kept_streams import DeviceShelf, HostShelf, KeptRows, KeptStreams, Shelf
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.model.memory_model import CleanTokens, memory_forward, tokenize_clean
from memv2v_core.tokens.cost import Cost

from .networks import NUM_TEXT_TOKENS, TEXT_DIM, Base, Network, Weights
from .official import Official
from .rows import Order, Place, Result, Row
from .timing import Timing, measure

# The key of a call's options that ComfyUI reads.
OVERRIDE = "optimized_attention_override"


class Unmeasured(Exception):
    """A row that cannot run here; the text says why."""


@dataclass(eq=False)
class Situation:
    """A network, what it sees, and the tokens that one place keeps."""

    network: Network
    inputs: MemoryInputs
    clean: CleanTokens
    latent: torch.Tensor
    context: torch.Tensor
    timestep: torch.Tensor
    place: Place | None = None
    kept: KeptRows | None = None

    def forward(
        self, options: dict[str, Any], clean: CleanTokens, kept: KeptRows | None = None
    ) -> torch.Tensor:
        """One call of our forward."""
        view = self.network.view(self.latent, options)
        inputs = (self.latent, self.timestep, self.context, self.inputs, clean, kept)
        return memory_forward(view, self.network.adapter, *inputs)

    def native(self, options: dict[str, Any]) -> torch.Tensor:
        """One call of ComfyUI's own forward."""
        given = {"transformer_options": options}
        return self.network.dit(self.latent, self.timestep, self.context, **given)


@dataclass(eq=False)
class Session:
    """All rows of one run.

    kernels: the attention override of each order; None is ComfyUI's own. bases: by name.
    dtype: of everything that is computed.
    """

    bases: Mapping[str, Base]
    device: torch.device
    dtype: torch.dtype
    kernels: Mapping[Order, Any]
    budget_s: float
    _network: tuple[tuple[str, Weights], Network] | None = None
    _situation: tuple[tuple, Situation] | None = None
    _outputs: dict[tuple, torch.Tensor] = field(default_factory=dict)

    def predicted_flops(self, row: Row) -> int:
        """FLOPs of one call by the formula, and of what must run before it."""
        base = self.bases[row.base]
        if row.call == "native":
            return base.native_flops
        cost = self._cost(row)
        if row.call != "reuse":
            return cost.flops
        key, now = self._situation or (None, None)
        is_kept = key == row.situation and now is not None and now.place == row.place
        return cost.reuse_flops + (0 if is_kept else cost.flops)

    def run(self, row: Row) -> Result:
        """The measured row.

        Raises: Unmeasured, and torch.OutOfMemoryError.
        """
        kernel = self.kernels[row.order]
        if row.order == "fast" and kernel is None:
            raise Unmeasured("this device has no other exact attention kernel")
        options = {} if kernel is None else {OVERRIDE: kernel}
        if row.call == "official":
            return self._official(row, kernel)
        situation = self._situation_of(row)
        if row.call == "native":
            timing, output = self._measured(lambda: situation.native(dict(options)))
            return self._result(row, timing, output)
        kept = None if row.call == "refresh" else self._kept(situation, row, options)
        clean = situation.clean.target_alone if row.call == "reuse" else situation.clean
        timing, output = self._measured(lambda: situation.forward(dict(options), clean, kept))
        return self._result(row, timing, output)

    def drop(self) -> None:
        """Forget networks and kept tokens, and give their memory back."""
        self._network = self._situation = None
        self._free()

    def _free(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _measured(self, call: Callable[[], torch.Tensor]) -> tuple[Timing, torch.Tensor]:
        found: list[torch.Tensor] = []

        def run() -> torch.Tensor:
            found.clear()
            found.append(call())
            return found[0]

        timing = measure(run, self.device, self.budget_s)
        return timing, found[0]

    def _network_of(self, row: Row) -> Network:
        key = (row.base, row.weights)
        if self._network is None or self._network[0] != key:
            self.drop()
            generator = torch.Generator(self.device).manual_seed(0)
            built = Network.build(self.bases[row.base], generator, self.dtype, row.weights)
            self._network = (key, built)
        return self._network[1]

    def _situation_of(self, row: Row) -> Situation:
        if self._situation is None or self._situation[0] != row.situation:
            self._situation = None
            network = self._network_of(row)
            self._free()
            generator = torch.Generator(self.device).manual_seed(1)
            latent = network.random(generator, 1, network.base.in_channels, *network.base.latent)
            context = network.random(generator, 1, NUM_TEXT_TOKENS, TEXT_DIM)
            inputs = network.inputs(row.memories, row.is_merged, generator)
            clean = tokenize_clean(network.view(latent), network.adapter, inputs, latent.shape)
            timestep = torch.tensor([500.0], device=self.device)
            made = Situation(network, inputs, clean, latent, context, timestep)
            self._situation = (row.situation, made)
        return self._situation[1]

    def _kept(self, situation: Situation, row: Row, options: dict[str, Any]) -> KeptRows:
        """The kept tokens of the row's place, filled by a refresh."""
        if situation.place != row.place or situation.kept is None:
            situation.kept, situation.place = None, None
            self._free()
            precision = "fp8" if row.place.endswith("fp8") else "full"
            streams = KeptStreams(self._shelf(row.place), precision)
            # Raised inside `except`, it keeps torch's own error as its cause.
            situation.kept = KeptRows([streams], 1, on_failure=_out_of_memory)
            if row.call == "reuse":
                situation.forward(dict(options), situation.clean, situation.kept)
            situation.place = row.place
        return situation.kept

    def _shelf(self, place: Place) -> Shelf:
        if place.startswith("device"):
            return DeviceShelf()
        if self.device.type != "cuda":
            raise Unmeasured("pinned memory of the host needs a CUDA card")
        return HostShelf(self.device)

    def _official(self, row: Row, kernel: Any) -> Result:
        self.drop()
        base = self.bases[row.base]
        made = Official.build(base, torch.Generator(self.device).manual_seed(0), self.dtype)

        def call() -> torch.Tensor:
            if kernel is None:
                return made.run()
            with sdpa_kernel([kernel.kernel, *kernel.rest], set_priority=True):
                return made.run()

        timing, output = self._measured(call)
        return self._result(row, timing, output)

    def _result(self, row: Row, timing: Timing, output: torch.Tensor) -> Result:
        problem = "" if output.isfinite().all() else "its output has NaN or infinity"
        cost, is_ours = self._cost(row), row.call in ("refresh", "keep")
        kept, estimated_kept = None, None
        if row.call in ("keep", "reuse") and self._situation is not None:
            rows = self._situation[1].kept
            kept = None if rows is None else rows.parts[0].num_bytes
            estimated_kept = cost.kept_bytes
            if row.place.endswith("fp8"):
                estimated_kept //= self.dtype.itemsize
        # A refresh that keeps on the card fills it with what is kept, too.
        beside = (estimated_kept or 0) if row.place.startswith("device") else 0
        return Result(
            row,
            timing.seconds,
            timing.first_seconds,
            timing.num_times,
            timing.peak_bytes,
            cost.activation_bytes + beside if is_ours else None,
            kept,
            estimated_kept,
            self.predicted_flops(row),
            cost.tokens_in if is_ours else None,
            self._difference(row, output),
            problem,
        )

    def _cost(self, row: Row) -> Cost:
        return self.bases[row.base].cost(row.memories, row.is_merged, self.dtype.itemsize)

    def _difference(self, row: Row, output: torch.Tensor) -> float | None:
        """Relative difference to the first output of the same network and inputs.

        Tokens that were kept at this latent and timestep make a reuse equal to a refresh.
        """
        if row.call == "official":
            return None
        key, now = (row.situation, row.call == "native"), output.float().cpu()
        first = self._outputs.setdefault(key, now)
        if first is now:
            return None
        return float((now - first).norm() / first.norm())


def _out_of_memory() -> None:
    raise Unmeasured("memory ran out while keys and values were kept")
