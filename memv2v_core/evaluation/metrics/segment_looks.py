"""What the edited object looks like in each segment of a long video, and how much segments differ.

F frames, H rows, W columns, S rows and columns of a crop. Videos are (F, 3, H, W) in [0, 1]. An
edit is what differs both from the source and from the same scene without the object. So the new hat
and the repainted ball count; background that a smaller object uncovers does not.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
import torch.nn.functional as F

CROP_PX = 40
# From the object's centre to the edge of the crop. A hat ends 2.4 radii above the centre.
CROP_RADII = 2.5
# The change of a pixel rises from 0 to 1 between these differences of its most different channel.
# Codecs stay below the first; above the second a change is plain to see.
CHANGE_FROM, CHANGE_TO = 0.10, 0.25
# Frames of a segment that must show the object.
MIN_FRAMES = 3
# The least changed area of an edit, in squares of the radius. The smallest hat has about 0.9.
MIN_AMOUNT = 0.08


@dataclass(frozen=True, eq=False)
class ObjectTrack:
    """Where the edited object is, frame by frame.

    centres: (F, 2) as (x, y) in frame widths and heights. radius: (F,) in frame widths.
    turn: (F,), the angle in radians by which a crop follows the object. visible: (F,).
    """

    centres: torch.Tensor
    radius: torch.Tensor
    turn: torch.Tensor
    visible: torch.Tensor

    def frames(self, start: int, stop: int) -> "ObjectTrack":
        """The track of these frames alone."""
        return ObjectTrack(*(values[start:stop] for values in vars(self).values()))


@dataclass(frozen=True, eq=False)
class SceneVideo:
    """A clip and the known facts about it.

    source: unedited. empty: the same without the edited object.
    hidden: (F, 1, H, W) pixels where another object stands before the edited one.
    track: of the edited object.
    """

    source: torch.Tensor
    empty: torch.Tensor
    hidden: torch.Tensor
    track: ObjectTrack

    def frames(self, start: int, stop: int) -> "SceneVideo":
        """These frames alone."""
        source, empty, hidden = (
            video[start:stop] for video in (self.source, self.empty, self.hidden)
        )
        return SceneVideo(source, empty, hidden, self.track.frames(start, stop))


@dataclass(frozen=True, eq=False)
class SegmentedScene:
    """A long clip with known facts, in the segments in which it is edited.

    segments: (start, stop) of each, in frames. world_of_segment: segments with the same number show
    the same world. has_open_shape: whether the instruction leaves the shape open too.
    """

    scene: SceneVideo
    segments: tuple[tuple[int, int], ...]
    world_of_segment: tuple[int, ...]
    has_open_shape: bool

    def looks(self, edited: torch.Tensor) -> "list[Look | None]":
        """The look of every segment of an edited video (N, 3, H, W)."""
        return [
            segment_look(edited[start:stop], self.scene.frames(start, stop))
            for start, stop in self.segments
        ]


def joined_scenes(scenes: Sequence[SceneVideo]) -> SceneVideo:
    """Several scenes, one after the other, as one clip."""
    tracks = [scene.track for scene in scenes]
    track = ObjectTrack(
        *(torch.cat([getattr(part, name) for part in tracks]) for name in vars(tracks[0]))
    )
    source, empty, hidden = (
        torch.cat([getattr(scene, name) for scene in scenes])
        for name in ("source", "empty", "hidden")
    )
    return SceneVideo(source, empty, hidden, track)


@dataclass(frozen=True, eq=False)
class Look:
    """The edit as one segment shows it.

    colour: (3,), mean of the changed pixels.
    shape: (S, S) in [0, 1], the share of the time in which each place around the object was
    changed.
    known: (S, S), places that were ever visible.
    amount: changed area in squares of the radius.
    """

    colour: torch.Tensor
    shape: torch.Tensor
    known: torch.Tensor
    amount: float

    @property
    def is_edited(self) -> bool:
        return self.amount >= MIN_AMOUNT


def segment_look(edited: torch.Tensor, scene: SceneVideo) -> Look | None:
    """The look of one segment; None where fewer than `MIN_FRAMES` frames show the object.

    Where nothing was edited, the colour is the object's own colour and the shape is empty.
    """
    visible = scene.track.visible
    if int(visible.sum()) < MIN_FRAMES:
        return None
    # Step 1: crops that follow the object, so that its places can be compared between frames.
    videos = torch.cat((edited, scene.source, scene.empty, scene.hidden), dim=1)[visible]
    centres, radius, turn = (
        values[visible] for values in (scene.track.centres, scene.track.radius, scene.track.turn)
    )
    shown, source, empty, hidden = aligned_crops(videos, centres, radius, turn).split(
        (3, 3, 3, 1), dim=1
    )
    # Step 2: change against source and empty scene, where nothing hides the object.
    is_open = _inside_frame(centres, radius, turn, edited.shape[-2] / edited.shape[-1]) * (
        hidden < 0.01
    )
    # The smaller one: an edit differs from both.
    change = torch.minimum(change_mask(shown, source), change_mask(shown, empty)) * is_open
    times_open = is_open.sum((0, 1))  # (S, S)
    shape, known = change.sum((0, 1)) / times_open.clamp(min=1), times_open > 0
    # Step 3: the area, and the mean colour of the change.
    amount = float(shape.double().mean() * (2 * CROP_RADII) ** 2)
    if amount < MIN_AMOUNT:
        own_colour = _weighted_colour(source, change_mask(source, empty) * is_open)
        return Look(own_colour, torch.zeros_like(shape), known, amount)
    return Look(_weighted_colour(shown, change), shape, known, amount)


def change_mask(video: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """How surely each pixel differs, (F, 1, H, W) in [0, 1]."""
    difference = (video - reference).abs().amax(1, keepdim=True)
    return ((difference - CHANGE_FROM) / (CHANGE_TO - CHANGE_FROM)).clamp(0, 1)


def aligned_crops(
    video: torch.Tensor, centres: torch.Tensor, radius: torch.Tensor, turn: torch.Tensor
) -> torch.Tensor:
    """Crops (F, C, S, S) of a video (F, C, H, W) that follow an object.

    The object keeps its place, size and angle in them.
    """
    grid = _crop_points(centres, radius, turn, video.shape[-2] / video.shape[-1]) * 2 - 1
    return F.grid_sample(video, grid, mode="bilinear", padding_mode="border", align_corners=False)


def colour_difference(first: Look, second: Look) -> float:
    """Euclidean distance of two looks' colours in RGB of 0..1."""
    return float((first.colour - second.colour).norm())


def shape_difference(first: Look, second: Look) -> float:
    """1 - IoU of two looks' soft shapes, where both are known.

    0 where neither segment was edited.
    """
    known = first.known & second.known
    # For soft shapes, minimum and maximum stand for intersection and union.
    union = torch.maximum(first.shape, second.shape)[known].sum()
    return (
        float(1 - torch.minimum(first.shape, second.shape)[known].sum() / union)
        if union > 0
        else 0.0
    )


def difference_between(looks: Iterable[tuple[Look, Look]]) -> tuple[float, float]:
    """Mean colour and shape difference over pairs of looks; NaN without any pair."""
    pairs = list(looks)
    if not pairs:
        return math.nan, math.nan
    colours, shapes = zip(
        *((colour_difference(*pair), shape_difference(*pair)) for pair in pairs), strict=True
    )
    return sum(colours) / len(pairs), sum(shapes) / len(pairs)


def difference_among(looks: Sequence[Look | None]) -> tuple[float, float]:
    """Mean colour and shape difference over all pairs of segments that show the object.

    NaN with fewer than 2 such segments.
    """
    return difference_between(combinations([look for look in looks if look is not None], 2))


def mean_colour(looks: Sequence[Look | None]) -> torch.Tensor:
    """The mean colour (3,) of several segments, weighted by how much each changed."""
    seen = [look for look in looks if look is not None]
    # A small floor, so that looks without any edit still have a mean.
    weights = torch.tensor([max(look.amount, 1e-6) for look in seen])
    return (torch.stack([look.colour for look in seen]) * weights[:, None]).sum(0) / weights.sum()


def background_psnr(edited: torch.Tensor, scene: SceneVideo) -> float:
    """PSNR in dB against the source, outside the box around the edited object.

    The box also holds everything that the object wears.
    """
    outside = ~object_box(scene.track, *edited.shape[-2:])
    error = (edited - scene.source).double().square() * outside
    return -10 * math.log10(float(error.sum() / (3 * outside.sum())) + 1e-12)


def object_box(track: ObjectTrack, height: int, width: int) -> torch.Tensor:
    """Pixels (F, 1, H, W) within `CROP_RADII` of the object's centre, across and down."""
    y = ((torch.arange(height) + 0.5) / height).view(1, -1, 1) - track.centres[:, 1].view(-1, 1, 1)
    x = ((torch.arange(width) + 0.5) / width).view(1, 1, -1) - track.centres[:, 0].view(-1, 1, 1)
    reach = CROP_RADII * track.radius.view(-1, 1, 1)
    return ((x.abs() <= reach) & (y.abs() * height / width <= reach)).unsqueeze(1)


def _crop_points(
    centres: torch.Tensor, radius: torch.Tensor, turn: torch.Tensor, aspect: float
) -> torch.Tensor:
    """Sample points of crops, (F, S, S, 2) as (x, y) in frame widths and heights.

    aspect: height over width.
    """
    axis = ((torch.arange(CROP_PX) + 0.5) / CROP_PX * 2 - 1) * CROP_RADII
    v, u = torch.meshgrid(axis, axis, indexing="ij")  # each (S, S)
    cos, sin, size = (values.view(-1, 1, 1) for values in (turn.cos(), turn.sin(), radius))
    x, y = cos * u - sin * v, sin * u + cos * v
    offset = torch.stack((size * x, size * y / aspect), dim=-1)  # (F, S, S, 2)
    return centres.view(-1, 1, 1, 2) + offset


def _inside_frame(
    centres: torch.Tensor, radius: torch.Tensor, turn: torch.Tensor, aspect: float
) -> torch.Tensor:
    points = _crop_points(centres, radius, turn, aspect)
    return ((points >= 0) & (points <= 1)).all(-1).unsqueeze(1).float()


def _weighted_colour(video: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    total = weights.sum().clamp(min=1e-6)
    return (video * weights).sum((0, 2, 3)) / total
