"""What a running node tells the page: previews, how far it is, and each piece that is finished."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import TracebackType
from uuid import uuid4

import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ....memv2v_core.pictures.loop import MAX_FRAMES, animated_webp, small_frames
from ....memv2v_core.resuming.outcomes import Outcome
from ..sampling.thumbnail import turn_frames
from .messages import PREVIEW, PROGRESS, place_of, tell_page
from .pace import Pace
from .pieces import small_piece, write_piece
from .preview import Previewer
from .states import LIVE, LiveState, Place, RunState, Tile, Unit

_LOOP_RATE = 8.0
# Steps of a fast model come more often than a page needs to know.
_LEAST_INTERVAL_S = 0.25


@dataclass(eq=False)
class LiveRun:
    """One execution of one node that makes `total` pieces; use it in a `with` block.

    For each piece: `started`, then `callback` as the callback of the sampler, then `finished`; for
    a piece that an earlier run made, `finished` alone. After all pieces may follow `compares`, then
    `callback`, for pieces that are made once more without their memories. The page shows it at
    once. ComfyUI's own still preview is not sent: it would stay listed as the node's result.

    hidden: of the node, whose schema asks for `unique_id`, `dynprompt` and `extra_pnginfo`.
    model: whose latents are sampled.
    is_saved: whether a finished piece is on disk, so that a later run continues after it.
    Nothing that is shown can fail the run: what goes wrong is in the log.
    """

    hidden: io.HiddenHolder | None
    model: ModelPatcher
    unit: Unit = "turn"
    total: int = 1
    is_saved: bool = True
    _state: LiveState = field(init=False, repr=False)
    _pace: Pace = field(init=False, repr=False)
    _bar: comfy.utils.ProgressBar | None = field(default=None, init=False, repr=False)
    _told_s: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._place = place_of(self.hidden)
        # Without a page the run is counted all the same; only nobody is told.
        place = self._place or Place(None, "")
        self._state = LiveState(place, uuid4().hex, self.unit, self.total, self.is_saved)
        self._pace = Pace(self.total)
        self._previewer = Previewer(self.model.model.latent_format, self._send_preview)

    def __enter__(self) -> "LiveRun":
        if self._place is not None:
            LIVE.begin(self._state)
        self._tell()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._previewer.wait()
        stopped = comfy.model_management.InterruptProcessingException
        state: RunState = "done"
        if kind is not None:
            state = "stopped" if issubclass(kind, stopped) else "failed"
        self._state.state = state
        self._tell()

    def started(self, number: int, sees: Sequence[int] = ()) -> None:
        """Piece `number`, from 1, is begun; it sees the pieces of these numbers, best first."""
        self._pace.start()
        self._state.number, self._state.sees = number, tuple(sees)
        self._state.step = 0
        self._tell()

    def compares(self, number: int) -> None:
        """Piece `number` is made once more, without its memories; it adds no piece."""
        self._pace.start()
        self._state.number, self._state.sees, self._state.is_comparison = number, (), True
        self._state.step = 0
        self._tell()

    def callback(self, step: int, x0: torch.Tensor, _x: torch.Tensor, total_steps: int) -> None:
        """The callback of a sampler (`Progress`): advances the bars, and shows x0 as it is."""
        self._state.step, self._state.steps = step + 1, total_steps
        self._pace.advance(step + 1, total_steps)
        self._advance_bar(total_steps)
        if self._place is None:
            return
        if time.monotonic() >= self._told_s + _LEAST_INTERVAL_S:
            self._tell()
        self._previewer.show(x0)

    def finished(
        self,
        number: int,
        outcome: Outcome,
        *,
        frames: torch.Tensor | None = None,
        frame_rate: Fraction | float = 16,
        latent: torch.Tensor | None = None,
        num_shown_before: int = 0,
    ) -> None:
        """Piece `number` is finished: the page can play it when this returns.

        frames: (F, 3, H, W) in 0..1, decoded, shown frame_rate times a second.
        latent: (C, T, h, w) in the VAE's space, drawn in the colours of previews where no frames
        are given.
        num_shown_before: frames at the start that the piece before shows too.
        """
        seconds = self._pace.finish(outcome == "new")
        tile = Tile(number, outcome, seconds)
        if self._place is not None:
            self._previewer.wait()
            rate = Fraction(frame_rate).limit_denominator(1001)
            tile = replace(tile, skip_s=float(num_shown_before / rate))
            tile = self._pictured(tile, frames, rate, latent)
        self._state.tiles[number] = tile
        self._advance_bar(self._state.steps)
        self._tell(tile)

    def _pictured(
        self,
        tile: Tile,
        frames: torch.Tensor | None,
        frame_rate: Fraction,
        latent: torch.Tensor | None,
    ) -> Tile:
        """The tile with its loop, and with its piece where frames are given."""
        # The turn itself is safe; a picture of it may fail in any way.
        try:
            if frames is not None:
                small = small_piece(frames)
                # No more frames than a loop shows are made pictures.
                chosen = small[:: max(len(small) // MAX_FRAMES, 1)].movedim(1, -1)
                pictures = (chosen * 255).round().clamp(0, 255).to(torch.uint8)
                return replace(tile, loop=_loop(pictures), piece=write_piece(small, frame_rate))
            if latent is not None:
                drawn = turn_frames(self.model, latent)
                return tile if drawn is None else replace(tile, loop=_loop(drawn))
        except Exception as error:
            logging.warning("Memory-V2V: %s %s has no picture: %s", self.unit, tile.number, error)
        return tile

    def _advance_bar(self, steps: int) -> None:
        """ComfyUI's own bar, over all pieces."""
        steps = max(steps, 1)
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(self.total * steps)
        done = len(self._state.tiles) * steps
        if self._state.number not in self._state.tiles:
            done += self._state.step
        # The last step of a piece, and its end, are one place on the bar.
        if done != self._bar.current:
            self._bar.update_absolute(done, self.total * steps)

    def _tell(self, tile: Tile | None = None) -> None:
        if self._place is None:
            return
        estimate = self._pace.estimate() if self._state.state == "running" else None
        state, (left, each, based_on) = self._state, estimate or (None, None, None)
        state.seconds_left, state.seconds_each, state.based_on = left, each, based_on
        self._told_s = time.monotonic()
        content = state.as_dict()
        if tile is not None:
            content["tile"] = tile.as_dict()
        tell_page(PROGRESS, content)

    def _send_preview(self, picture: str) -> None:
        state = self._state
        content = {"run": state.run, "number": state.number, "picture": picture}
        tell_page(PREVIEW, {**state.place._asdict(), **content})


def _loop(frames: torch.Tensor) -> bytes:
    return animated_webp(small_frames(frames), _LOOP_RATE)
