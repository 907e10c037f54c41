"""One item of a data set: its clips read, fitted, encoded and stored."""

from dataclasses import dataclass

from ...cameras.trajectory import CameraTrajectory
from ..data.prepared_folder import PreparedItem, PreparedVideo
from ..data.prepared_writing import PreparedWriter
from .config import PrepareConfig
from .encoders.protocol import Encoder
from .fitting import cover_and_crop, fit_cameras
from .readers.raw import RawItem, RawVideo
from .selection import split_of


@dataclass(frozen=True, eq=False)
class ItemPreparer:
    """Prepares items, one after the other."""

    config: PrepareConfig
    encoder: Encoder
    writer: PreparedWriter

    def prepare(self, item: RawItem) -> PreparedItem:
        """The stored item.

        Raises: ValueError where a clip, its cameras or its text are broken; the item then has no
        record.
        """
        videos = item.videos()
        count = _num_shared(videos)
        stored = []
        sizes: dict[str, tuple[int, int]] = {}
        for video in videos:
            num_segments = count if video.role in ("source", "edited") else _num_segments(video)
            for segment in range(num_segments):
                prepared, size = self._segment(video, segment)
                stored.append(prepared)
                sizes[video.role] = size
        _require_one_size(sizes)
        split = split_of(item.name, self.config.held_out_share)
        whole = PreparedItem(item.name, split, tuple(stored))
        self.writer.finish(whole)
        return whole

    def _segment(self, video: RawVideo, segment: int) -> tuple[PreparedVideo, tuple[int, int]]:
        """One stored segment, and the size of its frames before fitting."""
        config, wanted = self.config, self.config.num_frames
        frames = video.frames(video.first + segment * wanted)
        if len(frames) != wanted:
            raise ValueError(f"{video.name} got {len(frames)} frames, wanted {wanted}")
        rows, columns = frames.shape[-2:]
        # Cameras first: they fail sooner than the VAE is done.
        cameras = self._cameras(video, columns / rows)
        latent = self.encoder.encode_video(cover_and_crop(frames, config.height, config.width))
        channels, num_latent, height, width = latent.shape
        prepared = PreparedVideo(
            # No two videos get one name: what follows the last dot is the segment's number.
            video.name if video.role == "view" else f"{video.name}.{segment:03d}",
            video.role,
            (channels, num_latent, height, width),
            wanted,
            video.caption,
            has_cameras=cameras is not None,
        )
        self.writer.write_latent(prepared, latent)
        if cameras is not None:
            self.writer.write_cameras(prepared, cameras)
        return prepared, (rows, columns)

    def _cameras(self, video: RawVideo, aspect: float) -> CameraTrajectory | None:
        if video.cameras is None:
            return None
        config = self.config
        return fit_cameras(
            video.cameras(aspect),
            config.num_frames,
            self.encoder.ratios.temporal,
            config.width / config.height,
        )


def _num_segments(video: RawVideo) -> int:
    return 1 if video.count_segments is None else video.count_segments()


def _num_shared(videos: tuple[RawVideo, ...]) -> int:
    """Segments that both the source and the edited clip have."""
    counts = [_num_segments(video) for video in videos if video.role in ("source", "edited")]
    return min(counts, default=0)


def _require_one_size(sizes: dict[str, tuple[int, int]]) -> None:
    """Raise ValueError for a source and an edited clip that would be cropped differently."""
    source, edited = sizes.get("source"), sizes.get("edited")
    if source is not None and edited is not None and source != edited:
        raise ValueError(
            f"the source got {source[1]}x{source[0]} pixels and the edited clip "
            f"{edited[1]}x{edited[0]}, wanted one size; scale one of them"
        )
