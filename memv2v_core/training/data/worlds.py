"""Examples of text-guided editing of long videos.

An example has a segment, its instruction, and earlier segments before and after their edit. Worlds,
instructions, answers and noise differ from row to row. An ambiguous instruction leaves its answer
open. The answer is drawn once per row and holds for all its segments, so only memory can tell it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ...bases.base_info import BaseInfo
from ...builtin.codec import Codec
from ...sampling.inputs import CleanVideo, assemble_inputs
from ...synthetic.edits import Edit, draw_edit
from ...synthetic.outlines import HATS
from ...synthetic.rendering import render_world, visible_part
from ...synthetic.worlds import World, make_canvas, make_world
from ...tokens.tokenizers import BASE_KERNEL
from ...vocabulary import Role
from ..config.data import WorldsConfig
from .draws import MemoryStructure, chance, draw_memories, some_frames, with_noise
from .example import Example
from .own_memories import NUM_SIGHTS, Editor, SegmentLatents, draw_memory
from .pools import Pool
from .rows import Rows, row_uniform

# A change of a latent counts as an edit above this. Latents have a deviation of about 1.
_PLAIN_CHANGE = 0.2
_TOKEN_PX = 16
# A token shows the named object when the object covers this share of its pixels.
_SHOWS = 0.15
# A faulty memory: the largest share of another hat, the largest transparency, and how much both
# vary from place to place.
_MOST_MIXED, _MOST_FADED, _SPREAD = 0.45, 0.5, 0.2


@dataclass(frozen=True)
class WorldStructure:
    """The properties that all rows of one step share.

    memory: the previous segment comes first if there is one.
    stride: frames from one segment to the next.
    has_previous: whether the first memory is the segment before the target.
    sight: where the model draws the memories itself, what it looks at (see `own_memories`); else
    None.
    """

    step: int
    memory: MemoryStructure
    target_frames: tuple[int, ...]
    memory_frames: tuple[tuple[int, ...], ...]
    stride: int
    has_previous: bool
    sight: int | None = None

    @property
    def kernels(self) -> tuple[int, ...]:
        return self.memory.kernels


@dataclass(frozen=True, eq=False)
class Pair:
    """Frames (F, 3, H, W) in [0, 1] of a segment, before and after the edit.

    other: the frames after another edit, which is mixed into a faulty memory; else None.
    is_relevant: whether the edit is the row's edit.
    """

    source: torch.Tensor
    target: torch.Tensor
    other: torch.Tensor | None = None
    is_relevant: bool = True


@dataclass(frozen=True, eq=False)
class EditRow:
    """One clip: the segment to edit, its instruction, and the memories.

    named: pixels (F, H, W) of the segment that show the named object.
    """

    instruction: str
    target: Pair
    memories: tuple[Pair, ...]
    named: torch.Tensor


class WorldExamples:
    """Endless examples of the second task, rendered and encoded on the codec's device.

    Backgrounds come from a pool that changes slowly.

    base: the model in training, as memory sees it. seed: of the backgrounds.
    editor: the model in training. It draws the memories of a share `own_share` of the steps.
    """

    def __init__(
        self,
        config: WorldsConfig,
        base: BaseInfo,
        codec: Codec,
        seed: int,
        editor: Editor | None = None,
    ) -> None:
        self.config, self.base, self.codec, self.editor = config, base, codec, editor
        self.pool: Pool[torch.Tensor] = Pool(
            "canvas", seed, config.first_canvases, config.num_canvases, self._make
        )

    has_held_out = True

    def structure(self, step: int, is_whole: bool, generator: torch.Generator) -> WorldStructure:
        """Frames, kernels and merging of one step.

        The previous segment has the finest tokens, and segments overlap by up to a third (our
        choice).
        """
        config = self.config
        memory = draw_memories(config.memory, generator)

        def some(count: int) -> tuple[int, ...]:
            frames = config.num_frames if is_whole else count
            return some_frames(frames, config.num_frames, generator)

        kernels = list(memory.kernels)
        has_previous = len(kernels) > 0 and chance(config.previous_share, generator)
        if has_previous:
            kernels[0] = BASE_KERNEL
        overlap = int(torch.randint(1 + config.num_frames // 3, (), generator=generator))
        sight = None
        if config.own_share > 0 and kernels and chance(config.own_share, generator):
            sight = int(torch.randint(NUM_SIGHTS, (), generator=generator))
        return WorldStructure(
            step,
            replace(memory, kernels=tuple(kernels)),
            some(config.target_frames),
            tuple(some(config.memory_frames) for _ in kernels),
            config.num_frames - overlap,
            has_previous,
            sight,
        )

    def draw(self, structure: WorldStructure, rows: Rows, is_held_out: bool = False) -> Example:
        drawn = [self.draw_row(structure, generator, is_held_out) for generator in rows]
        return self.encoded(structure, drawn, rows)

    def videos(self, step: int, generators: Rows) -> torch.Tensor:
        """Videos (B, 3, F, H, W) in [-1, 1] for training a codec."""
        config, videos = self.config, []
        for generator in generators:
            canvas = self._canvas(step, generator)
            world = make_world(config.worlds, generator, canvas=canvas)
            last = config.num_frames * config.num_segments
            start = int(torch.randint(last, (), generator=generator))
            # Every third frame: neighbours would look alike.
            frames = range(start, start + 3 * config.target_frames, 3)
            edit = draw_edit(world, generator)
            videos.append(render_world(world, frames, config.size, edit))
        return torch.stack(videos).transpose(1, 2) * 2 - 1

    def draw_row(
        self, structure: WorldStructure, generator: torch.Generator, is_held_out: bool = False
    ) -> EditRow:
        """The segments of one clip. The edit is of the first object."""
        # Step 1: one world and one answer for the whole row.
        config = self.config

        def canvas() -> torch.Tensor:
            return self._canvas(structure.step, generator, is_held_out)

        starts = self._starts(structure, generator)
        away = self._away(starts[0], generator)
        world = make_world(config.worlds, generator, away=away, canvas=canvas())
        edit = draw_edit(
            world, generator, object_idx=0, named_share=config.named_share, kinds=config.kinds
        )

        # Step 2: the memories. Some show another shot, whose answer must not count here.
        memories = []
        for start, frames in zip(starts[1:], structure.memory_frames, strict=True):
            seen, answer = world, edit
            is_relevant = not chance(config.irrelevant_share, generator)
            if not is_relevant:
                seen = make_world(config.worlds, generator, like=world.objects[0], canvas=canvas())
                answer = draw_edit(seen, generator, kind=edit.kind, object_idx=0)
            other = self._fault(answer, generator)
            memory = self._pair(seen, answer, start, frames, other)
            memories.append(replace(memory, is_relevant=is_relevant))
        # Step 3: the segment to edit. An empty prompt leaves it unchanged, whatever memories say.
        of_target = [starts[0] + frame for frame in structure.target_frames]
        named = visible_part(world, of_target, config.size, object_idx=0)
        if chance(config.empty_share, generator):
            plain = self._pair(world, None, starts[0], structure.target_frames)
            return EditRow("", plain, tuple(memories), torch.zeros_like(named))
        target = self._pair(world, edit, starts[0], structure.target_frames)
        return EditRow(edit.instruction, target, tuple(memories), named)

    def encoded(self, structure: WorldStructure, drawn: Sequence[EditRow], rows: Rows) -> Example:
        """A batch of these rows.

        Every memory is the edited latent; where the base takes sources on the channel axis, it lies
        beside its source.

        Raises: ValueError when `structure` wants memories that the model draws itself and there is
        no `editor`.
        """
        if structure.sight is not None and self.editor is None:
            raise ValueError(
                "own_share got more than 0 without a model to draw; set it to 0 outside of training"
            )
        prompts = tuple(row.instruction for row in drawn)
        target = self._encode([row.target.target for row in drawn])
        source = self._encode([row.target.source for row in drawn])
        shown = SegmentLatents(target, source, structure.target_frames)
        memories = [
            self._memory(i, structure, drawn, rows, shown) for i in range(len(structure.kernels))
        ]
        # The source is the first clean video, or lies beside the target.
        videos, beside = memories, None if self.base.has_source_tokens else source
        if beside is None:
            first = CleanVideo("source", BASE_KERNEL, source, frames=structure.target_frames)
            videos = [first, *memories]
        inputs = assemble_inputs(
            self.base,
            self.config.num_frames,
            videos,
            target_frames=structure.target_frames,
            merging=structure.memory.merging(bool(memories)),
        )
        named = torch.stack([row.named for row in drawn]).float()
        is_named = F.avg_pool2d(named, _TOKEN_PX).flatten(1) > _SHOWS
        weight = self._weight(target, source)
        return Example(
            target, inputs, beside, prompts, weight=weight, named=is_named.float().to(target)
        )

    def _memory(
        self,
        i: int,
        structure: WorldStructure,
        drawn: Sequence[EditRow],
        rows: Rows,
        shown: SegmentLatents,
    ) -> CleanVideo:
        # Step 1: the true edit of the memory, sometimes with a faulty hat.
        config, frames = self.config, structure.memory_frames[i]
        pairs = [row.memories[i] for row in drawn]
        source = self._encode([pair.source for pair in pairs])
        edited = self._encode([pair.target for pair in pairs])
        edited = self._with_faults(edited, source, pairs, rows)
        # Step 2: in some steps the model draws the memory itself, where it shows the row's edit.
        if structure.sight is not None and self.editor is not None:
            memory = SegmentLatents(edited, source, frames)
            prompts = tuple(row.instruction for row in drawn)
            own_edit = draw_memory(
                self.editor,
                memory,
                shown,
                prompts,
                config.num_frames,
                structure.sight,
                rows,
                self.base,
            )
            own = torch.tensor(
                [row.memories[i].is_relevant and row.instruction != "" for row in drawn]
            )
            edited = torch.where(own.view(-1, 1, 1, 1, 1).to(edited.device), own_edit, edited)
        # Step 3: noise on the edit (Eq. 15), its source beside it.
        noisy = with_noise(edited, config.memory, True, rows)
        role: Role = "previous" if i == 0 and structure.has_previous else "memory"
        return CleanVideo(role, structure.kernels[i], noisy, source, frames=frames)

    def _weight(self, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Weights of errors, (B, C, T, H, W).

        They are larger where the edit changes a latent and beside it, where outlines are decided,
        and zero in channels that carry nothing.
        """
        is_edited = (target - source).abs().amax(1, keepdim=True) > _PLAIN_CHANGE
        near_edit = F.max_pool3d(is_edited.float(), (1, 3, 3), stride=1, padding=(0, 1, 1))
        is_used = torch.arange(target.shape[1], device=target.device) < self.codec.used
        is_used = is_used.view(1, -1, 1, 1, 1)
        return is_used * (1 + (self.config.edit_weight - 1) * near_edit)

    def _with_faults(
        self, edited: torch.Tensor, source: torch.Tensor, pairs: Sequence[Pair], rows: Rows
    ) -> torch.Tensor:
        """`edited` latents (B, C, T, H, W), some of them with a faulty hat.

        A faulty hat is mixed with another hat and partly transparent. Both have one level per clip
        and vary from place to place. So the model learns to draw a whole hat from a poor one, and
        hats in its own results do not decay from segment to segment (our choice).
        """
        others = {b: pair.other for b, pair in enumerate(pairs) if pair.other is not None}
        faulty = list(others)
        if not faulty:
            return edited
        of_faulty = [rows[b] for b in faulty]

        def amount(most: float) -> torch.Tensor:
            level = most * row_uniform(of_faulty).view(-1, 1, 1, 1, 1)
            places = torch.stack(
                [torch.randn(1, *edited.shape[2:], generator=generator) for generator in of_faulty]
            )
            return (level + _SPREAD * places).clamp_(0, 1).to(edited)

        # First another hat, then partly the source, as if there were no hat.
        other = self._encode(list(others.values()))
        mixed = torch.lerp(edited[faulty], other, amount(_MOST_MIXED))
        result = edited.clone()
        result[faulty] = torch.lerp(mixed, source[faulty], amount(_MOST_FADED))
        return result

    def _pair(
        self,
        world: World,
        edit: Edit | None,
        start: int,
        frames: Sequence[int],
        other: Edit | None = None,
    ) -> Pair:
        chosen, size = [start + frame for frame in frames], self.config.size
        source = render_world(world, chosen, size)
        target = source if edit is None else render_world(world, chosen, size, edit)
        mixed = None if other is None else render_world(world, chosen, size, other)
        return Pair(source, target, mixed)

    def _fault(self, edit: Edit, generator: torch.Generator) -> Edit | None:
        """Another hat to mix into a faulty memory; None for a true memory."""
        if edit.kind != "hat" or not chance(self.config.fault_share, generator):
            return None
        others = [shape for shape in HATS if shape != edit.shape]
        return replace(edit, shape=others[int(torch.randint(len(others), (), generator=generator))])

    def _starts(self, structure: WorldStructure, generator: torch.Generator) -> tuple[int, ...]:
        """First frames of the target and of each memory, which lies before it."""
        count = len(structure.kernels)
        free = self.config.num_segments - count
        target = count + int(torch.randint(free, (), generator=generator))
        # The segment just before the target is the previous one; the others are drawn from the
        # rest.
        earlier = list(range(target))
        chosen = []
        if structure.has_previous:
            chosen.append(earlier.pop())
        order = torch.randperm(len(earlier), generator=generator).tolist()
        chosen += [earlier[i] for i in order[: count - len(chosen)]]
        return tuple(structure.stride * segment for segment in (target, *chosen))

    def _away(self, start: int, generator: torch.Generator) -> tuple[int, int] | None:
        """Frames without the edited object, or None.

        In half of the cases it comes back as the target starts. Then only memories from before its
        absence show it.
        """
        if not chance(self.config.away_share, generator):
            return None
        length, segments = self.config.num_frames, self.config.num_segments
        first = int(torch.randint(length * segments, (), generator=generator))
        count = length * (1 + int(torch.randint(4, (), generator=generator)))
        return (start - count, start - 1) if chance(0.5, generator) else (first, first + count)

    def _canvas(
        self, step: int, generator: torch.Generator, is_held_out: bool = False
    ) -> torch.Tensor:
        return self.pool.draw(step, generator, is_held_out).float() / 255

    def _make(self, generator: torch.Generator) -> torch.Tensor:
        # Kept as bytes: the pool holds hundreds of backgrounds.
        canvas = make_canvas(self.config.worlds, generator)
        return (canvas * 255).round().byte().to(self.codec.device)

    def _encode(self, videos: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.codec.encode_frames(torch.stack(tuple(videos)))
