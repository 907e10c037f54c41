"""What a sampler has so far, as a small video that loops, drawn beside the run."""

import logging
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from comfy.latent_formats import LatentFormat

from ....memv2v_core.pictures.loop import animated_webp
from ..sampling.thumbnail import preview_frames

# Two a second look alive, and a thread draws them beside the run.
_LEAST_INTERVAL_S = 0.5
# Latent frames a second: one stands for four frames of video at 16 a second, so this is true speed
# doubled, as a glance needs it.
_RATE = 8.0

# One thread for all runs: ComfyUI runs one node at a time.
_DRAWING = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memory_v2v_preview")


@dataclass(eq=False)
class Previewer:
    """Draws and sends previews, at most two a second, and drops what comes while one is drawn.

    send: gets the preview as an animated WebP in base64.
    """

    latent_format: LatentFormat
    send: Callable[[str], None]
    _next_s: float = 0.0
    _drawn: Future[None] | None = field(default=None, repr=False)

    def show(self, x0: torch.Tensor) -> None:
        """Draw the first video of x0 (B, C, T, h, w) soon, if it is time for a preview."""
        now = time.monotonic()
        if now < self._next_s or (self._drawn is not None and not self._drawn.done()):
            return
        self._next_s = now + _LEAST_INTERVAL_S
        # The one wait for the GPU: a copy of a few MB, since the sampler may reuse the tensor.
        latent = x0[0].detach().to("cpu", copy=True)
        self._drawn = _DRAWING.submit(self._draw, latent)

    def wait(self) -> None:
        """Wait for a preview that is being drawn, so that none arrives after what follows."""
        if self._drawn is not None:
            self._drawn.exception()

    def _draw(self, latent: torch.Tensor) -> None:
        # A preview may fail in any way, and the run goes on.
        try:
            frames = preview_frames(self.latent_format, latent)
            if frames is not None:
                self.send(b64encode(animated_webp(frames, _RATE)).decode("ascii"))
        except Exception as error:
            logging.warning("Memory-V2V: no preview: %s", error)
