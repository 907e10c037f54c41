"""Examples of text-guided editing of long videos.

An example has a segment, its instruction, and earlier segments before and after their edit. Rows of
a batch share a structure; worlds, instructions, answers and noise differ from row to row. An
ambiguous instruction leaves its answer open. The answer is drawn once per row and holds for all its
segments, so only memory can tell it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ...builtin.codec import Codec
from ...sampling.inputs import CleanVideo, assemble_inputs
from ...synthetic.edits import Edit, draw_edit
from ...synthetic.outlines import HATS
from ...synthetic.rendering import render_world, visible_part
from ...synthetic.worlds import World, make_canvas, make_world
from ...tokens.merging import MergeConfig
from ...vocabulary import Role
from ..config import EditDataConfig
from ..objective import draw_noise
from .draws import Draws
from .example import Example, base_in_training
from .own_memories import Editor, SegmentLatents, draw_memory

# A change of a latent counts as an edit above this. Latents have a deviation of about 1.
_PLAIN_CHANGE = 0.2
_TOKEN_PX = 16
# A token shows the named object when the object covers this share of its pixels.
_SHOWS = 0.15
# A faulty memory: the largest share of another hat, the largest transparency, and how much both
# vary from place to place.
_MOST_MIXED, _MOST_FADED, _SPREAD = 0.45, 0.5, 0.2


@dataclass(frozen=True)
class EditStructure:
    """The properties that all rows of one step share.

    memory_frames, kernels: one per memory; the previous segment comes first if there is one.
    has_previous: whether the first memory is the segment before the target.
    share: of the frames to merge; None merges nothing.
    is_own: whether the model draws the memories itself.
    """

    target_frames: tuple[int, ...]
    memory_frames: tuple[tuple[int, ...], ...]
    kernels: tuple[int, ...]
    has_previous: bool
    share: float | None
    is_own: bool = False


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


class TextEditExamples:
    """Endless examples of the second task.

    Backgrounds come from a pool that changes slowly.

    editor: the model in training. It draws the memories of a share `own_share` of the steps.
    """

    def __init__(
        self, config: EditDataConfig, generator: torch.Generator, editor: Editor | None = None
    ) -> None:
        self.config = config
        self.generator = generator
        self._draws = Draws(generator)
        self.editor = editor
        self._canvases = [self._new_canvas() for _ in range(config.first_canvases)]
        self._next = 0

    def draw(self, all_frames: bool, batch_size: int, codec: Codec) -> Example:
        """The next batch, with whole segments or some frames of each."""
        self._renew()
        structure = draw_edit_structure(self.config, all_frames, self.generator)
        rows = [self.draw_row(structure) for _ in range(batch_size)]
        return edit_example(self.config, structure, rows, codec, self.generator, self.editor)

    def videos(self, count: int) -> torch.Tensor:
        """Videos (count, 3, F, H, W) in [-1, 1] for training a codec."""
        self._renew()
        config, generator, videos = self.config, self.generator, []
        for _ in range(count):
            world = make_world(config.worlds, generator, canvas=self._canvas())
            start = int(
                torch.randint(config.num_frames * config.num_segments, (), generator=generator)
            )
            # Every third frame: neighbours would look alike.
            frames = range(start, start + 3 * config.target_frames, 3)
            videos.append(render_world(world, frames, config.size, draw_edit(world, generator)))
        return torch.stack(videos).transpose(1, 2) * 2 - 1

    def draw_row(self, structure: EditStructure) -> EditRow:
        """The segments of one clip. The edit is of the first object."""
        # Step 1: one world and one answer for the whole row.
        config, generator = self.config, self.generator
        starts = self._starts(structure)
        world = make_world(
            config.worlds, generator, away=self._away(starts[0]), canvas=self._canvas()
        )
        edit = draw_edit(
            world, generator, object_idx=0, named_share=config.named_share, kinds=config.kinds
        )

        def pair(
            world: World,
            edit: Edit | None,
            start: int,
            frames: Sequence[int],
            other: Edit | None = None,
        ) -> Pair:
            chosen = [start + frame for frame in frames]
            source = render_world(world, chosen, config.size)
            target = source if edit is None else render_world(world, chosen, config.size, edit)
            return Pair(
                source,
                target,
                None if other is None else render_world(world, chosen, config.size, other),
            )

        # Step 2: the memories. Some show another shot, whose answer must not count here.
        memories = []
        for start, frames in zip(starts[1:], structure.memory_frames, strict=True):
            seen, answer = world, edit
            is_relevant = not self._draws.chance(config.irrelevant_share)
            if not is_relevant:
                seen = make_world(
                    config.worlds, generator, like=world.objects[0], canvas=self._canvas()
                )
                answer = draw_edit(seen, generator, kind=edit.kind, object_idx=0)
            memory = pair(seen, answer, start, frames, self._fault(answer))
            memories.append(replace(memory, is_relevant=is_relevant))
        # Step 3: the segment to edit. An empty prompt leaves it unchanged, whatever memories say.
        of_target = [starts[0] + frame for frame in structure.target_frames]
        named = visible_part(world, of_target, config.size, object_idx=0)
        if self._draws.chance(config.empty_share):
            plain = pair(world, None, starts[0], structure.target_frames)
            return EditRow("", plain, tuple(memories), torch.zeros_like(named))
        return EditRow(
            edit.instruction,
            pair(world, edit, starts[0], structure.target_frames),
            tuple(memories),
            named,
        )

    def _fault(self, edit: Edit) -> Edit | None:
        """Another hat to mix into a faulty memory; None for a true memory."""
        if edit.kind != "hat" or not self._draws.chance(self.config.fault_share):
            return None
        others = [shape for shape in HATS if shape != edit.shape]
        return replace(
            edit, shape=others[int(torch.randint(len(others), (), generator=self.generator))]
        )

    def _starts(self, structure: EditStructure) -> tuple[int, ...]:
        """First frames of the target and of each memory, which lies before it.

        Segments overlap by up to a third.
        """
        length, count = self.config.num_frames, len(structure.kernels)
        stride = length - int(torch.randint(1 + length // 3, (), generator=self.generator))
        target = count + int(
            torch.randint(self.config.num_segments - count, (), generator=self.generator)
        )
        # The segment just before the target is the previous one; the others are drawn from the
        # rest.
        earlier = list(range(target))
        chosen = []
        if structure.has_previous:
            chosen.append(earlier.pop())
        order = torch.randperm(len(earlier), generator=self.generator).tolist()
        chosen += [earlier[i] for i in order[: count - len(chosen)]]
        return tuple(stride * segment for segment in (target, *chosen))

    def _away(self, start: int) -> tuple[int, int] | None:
        """Frames without the edited object, or None.

        In half of the cases it comes back as the target starts. Then only memories from before its
        absence show it.
        """
        if not self._draws.chance(self.config.away_share):
            return None
        length = self.config.num_frames
        first = int(torch.randint(length * self.config.num_segments, (), generator=self.generator))
        count = length * (1 + int(torch.randint(4, (), generator=self.generator)))
        return (start - count, start - 1) if self._draws.chance(0.5) else (first, first + count)

    def _renew(self) -> None:
        # One new background per step: the pool grows to its size, then the oldest goes.
        if len(self._canvases) < self.config.num_canvases:
            self._canvases.append(self._new_canvas())
        else:
            self._canvases[self._next % self.config.num_canvases] = self._new_canvas()
            self._next += 1

    def _new_canvas(self) -> torch.Tensor:
        # Kept as bytes: the pool holds hundreds of backgrounds.
        return (make_canvas(self.config.worlds, self.generator) * 255).round().byte()

    def _canvas(self) -> torch.Tensor:
        idx = int(torch.randint(len(self._canvases), (), generator=self.generator))
        return self._canvases[idx].float() / 255


def draw_edit_structure(
    config: EditDataConfig, all_frames: bool, generator: torch.Generator
) -> EditStructure:
    """Frames, kernels and merging of one step.

    The previous segment has the finest tokens (our choice). For the other memories a share
    `single_kernel_share` of the steps takes one kernel, the other steps mix kernels.
    Source: Sec. 4.1, arXiv:2601.16296v2.
    """

    draws = Draws(generator)

    def some(count: int) -> tuple[int, ...]:
        return draws.frames(config.num_frames if all_frames else count, config.num_frames)

    # Step 1: how many memories, and whether one is the previous segment.
    count = int(torch.multinomial(torch.tensor(config.memory_counts), 1, generator=generator))
    has_previous = count > 0 and draws.chance(config.previous_share)
    # Step 2: kernels, 1x4x4 more often than 1x8x8.
    pick = torch.multinomial(
        torch.tensor([0.6, 0.4]), max(count, 1), replacement=True, generator=generator
    ).tolist()
    if draws.chance(config.single_kernel_share):
        pick = [pick[0]] * len(pick)
    kernels = [(4, 8)[choice] for choice in pick[:count]]
    if has_previous:
        kernels[0] = 2
    # Step 3: merging, at a share from the range of the paper.
    share = draws.merge_share(config.merge_probability)
    # Step 4: frames of each video.
    memory_frames = tuple(some(config.memory_frames) for _ in kernels)
    target_frames = some(config.target_frames)
    is_own = config.own_share > 0 and count > 0 and draws.chance(config.own_share)
    return EditStructure(target_frames, memory_frames, tuple(kernels), has_previous, share, is_own)


def edit_example(
    config: EditDataConfig,
    structure: EditStructure,
    rows: Sequence[EditRow],
    codec: Codec,
    generator: torch.Generator,
    editor: Editor | None = None,
) -> Example:
    """A batch of these rows, encoded.

    Every memory is the edited latent, a little noisy, beside its source.

    Raises: ValueError when `structure` wants memories that the model draws itself and there is no
    `editor`.
    """
    prompts = tuple(row.instruction for row in rows)
    target = _encode(codec, [row.target.target for row in rows])
    target_source = _encode(codec, [row.target.source for row in rows])
    if structure.is_own and editor is None:
        raise ValueError(
            "own_share got more than 0 without a model to draw; set it to 0 outside of training"
        )
    base = base_in_training(codec.ratios, "channels")
    videos = []
    for i, kernel in enumerate(structure.kernels):
        # Step 1: the true edit of the memory, sometimes with a faulty hat.
        pairs = [row.memories[i] for row in rows]
        source = _encode(codec, [pair.source for pair in pairs])
        edited = _encode(codec, [pair.target for pair in pairs])
        edited = _with_faults(edited, source, pairs, codec, generator)

        # Step 2: in some steps the model draws the memory itself, where it shows the row's edit.
        if structure.is_own and editor is not None:
            memory = SegmentLatents(edited, source, structure.memory_frames[i])
            shown = SegmentLatents(target, target_source, structure.target_frames)
            drawn = draw_memory(
                editor, memory, shown, prompts, config.num_frames, codec.used, generator, base
            )
            own = torch.tensor(
                [row.memories[i].is_relevant and row.instruction != "" for row in rows]
            )
            edited = torch.where(own.view(-1, 1, 1, 1, 1).to(edited.device), drawn, edited)

        # Step 3: noise on the edit (Eq. 15), its source beside it.
        level = config.memory_noise * torch.rand(len(rows), 1, 1, 1, 1, generator=generator)
        noise = draw_noise(edited, codec.used, generator)
        noisy = edited + level.to(noise) * noise
        role: Role = "previous" if i == 0 and structure.has_previous else "memory"
        frames = structure.memory_frames[i]
        videos.append(CleanVideo(role, kernel, noisy, source, frames=frames))
    inputs = assemble_inputs(
        base,
        config.num_frames,
        videos,
        target_frames=structure.target_frames,
        merging=None if structure.share is None or not videos else MergeConfig(structure.share),
    )

    # Step 4: weights of errors. They are larger where the edit changes a latent and beside it,
    # where outlines are decided, and zero in channels that carry nothing.
    is_edited = (target - target_source).abs().amax(1, keepdim=True) > _PLAIN_CHANGE
    near_edit = F.max_pool3d(is_edited.float(), (1, 3, 3), stride=1, padding=(0, 1, 1))
    is_used = torch.arange(target.shape[1], device=target.device) < codec.used
    is_used = is_used.view(1, -1, 1, 1, 1)
    weight = is_used * (1 + (config.edit_weight - 1) * near_edit)
    is_named = (
        F.avg_pool2d(torch.stack([row.named for row in rows]).float(), _TOKEN_PX).flatten(1)
        > _SHOWS
    )
    return Example(target, inputs, target_source, prompts, weight, is_named.float().to(target))


def _with_faults(
    edited: torch.Tensor,
    source: torch.Tensor,
    pairs: Sequence[Pair],
    codec: Codec,
    generator: torch.Generator,
) -> torch.Tensor:
    """`edited` latents (B, C, T, H, W), some of them with a faulty hat.

    A faulty hat is mixed with another hat and partly transparent. Both have one level per clip and
    vary from place to place. So the model learns to draw a whole hat from a poor one, and hats in
    its own results do not decay from segment to segment (our choice).
    """
    others = {b: pair.other for b, pair in enumerate(pairs) if pair.other is not None}
    faulty = list(others)
    if not faulty:
        return edited

    def amount(most: float) -> torch.Tensor:
        level = most * torch.rand(len(faulty), 1, 1, 1, 1, generator=generator)
        places = torch.randn(len(faulty), 1, *edited.shape[2:], generator=generator)
        return (level + _SPREAD * places).clamp_(0, 1).to(edited)

    # First another hat, then partly the source, as if there were no hat.
    other = _encode(codec, list(others.values()))
    mixed = torch.lerp(edited[faulty], other, amount(_MOST_MIXED))
    result = edited.clone()
    result[faulty] = torch.lerp(mixed, source[faulty], amount(_MOST_FADED))
    return result


def _encode(codec: Codec, videos: Sequence[torch.Tensor]) -> torch.Tensor:
    return codec.encode_frames(torch.stack(tuple(videos)))
