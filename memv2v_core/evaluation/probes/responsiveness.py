"""Table 1: do later blocks also ignore a frame that one block ignores?

The rows are the first block and both blocks that merge; each number is a mean over all later
blocks. See `novel_view.responsiveness` for what is compared.
"""

import torch

from ...builtin.bundle import load_bundle
from ...tokens.merging import merge_blocks
from ..making.recipes import hash_of, weight_files
from ..metrics.metric import Column
from ..novel_view.arms import SceneTurns
from ..novel_view.responsiveness import block_agreements, finished_sweep, responsiveness_by_block
from ..novel_view.scenes import held_out_scene
from ..suites.probe_suite import ResponsivenessConfig
from .probe import Rows


class Responsiveness:
    """A `Probe` of one built-in model in held-out scenes."""

    columns: tuple[Column, ...] = (Column("Pearson"), Column("Spearman"), Column("bottom half"))
    subjects: tuple[str, ...] = ("",)

    def __init__(self, config: ResponsivenessConfig, device: torch.device) -> None:
        self.config = config
        self.bundle = load_bundle(config.builtin, device)
        if self.bundle.info.task != "novel_view":
            raise ValueError(
                f"builtin got {config.builtin!r}, which edits by text; wanted a model that takes "
                "cameras, such as novel_view"
            )
        hashes = "".join(hash_of(path).hex() for path in weight_files(config.builtin))
        self.identity = f"responsiveness of {hashes}, rotated keys {config.rotated_keys}"
        self.items = tuple(f"scene_{index:03d}" for index in range(config.num_scenes))
        self.blocks = (0, *merge_blocks(self.bundle.backbone.num_blocks))
        # The paper counts blocks from 1.
        self.rows = tuple(f"block {block + 1}" for block in self.blocks)

    def measure(self, item: str) -> Rows:
        scene = held_out_scene(self.items.index(item), self.bundle.info)
        turns = SceneTurns.of(self.bundle, scene)
        is_rotated = self.config.rotated_keys
        scores = responsiveness_by_block(turns, finished_sweep(turns), is_rotated)
        agreements = block_agreements(scores, is_rotated, self.blocks)
        return {
            row: {
                "": {
                    "Pearson": float(found.pearson),
                    "Spearman": float(found.spearman),
                    "bottom half": float(found.overlap),
                }
            }
            for row, found in zip(self.rows, agreements, strict=True)
        }
