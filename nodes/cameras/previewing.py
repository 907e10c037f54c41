"""The node that shows camera paths."""

from comfy.sd import VAE
from comfy_api.latest import io

from ...memv2v_core.cameras.trajectory import CameraTrajectory, pose_vectors, static_trajectory
from ...memv2v_core.pictures.paths import draw_path, path_summary
from ...memv2v_core.shapes import latent_frame_indices, num_latent_frames
from ..host.menu import in_menu
from ..host.shown import PictureAndText
from ..io_types import CameraSocket


class PreviewCameraTrajectory(io.ComfyNode):
    """A picture of a camera path."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VPreviewCameraTrajectory",
            display_name="Preview Camera Trajectory",
            **in_menu("MemV2VPreviewCameraTrajectory"),
            description="Draws the numbers that the model is given: [R|t] of every latent frame, "
            "relative to the source's first camera. The picture shows the path from above, from "
            "the side and from the front, and the directions that are seen, on a sphere.",
            inputs=[
                CameraSocket.Input("camera", tooltip="The path to draw."),
                CameraSocket.Input(
                    "source_camera",
                    optional=True,
                    tooltip="The source's path, drawn in grey. Poses are relative to its first "
                    "camera, as in Apply Memory. If it is not connected, the source counts as "
                    "static at the origin.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The model's VAE: draws one camera per latent frame, which is what the "
                    "model is given. If it is not connected, every frame is drawn.",
                ),
            ],
            outputs=[io.Image.Output(display_name="picture", tooltip="The drawing.")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        camera: CameraTrajectory,
        source_camera: CameraTrajectory | None = None,
        vae: VAE | None = None,
    ) -> io.NodeOutput:
        chosen = latent_cameras(camera, vae)
        # The numbers that the model gets: relative to the first camera of the source.
        poses = pose_vectors(chosen, source_camera or static_trajectory(1))
        # The source in the same frame of reference as the poses.
        source = source_camera.relative_to(source_camera) if source_camera is not None else None
        picture = draw_path(poses, chosen.intrinsics, source)[None]
        return io.NodeOutput(picture, ui=PictureAndText(picture, path_summary(chosen), cls))


def latent_cameras(camera: CameraTrajectory, vae: VAE | None) -> CameraTrajectory:
    """The cameras of the frames that stand for latent frames; without a VAE, all cameras.

    Raises: ValueError when the length of the path is not ratio * n + 1.
    """
    ratio = vae.temporal_compression_decode() if vae is not None else 1
    # A VAE for single pictures has no ratio.
    if not ratio or ratio == 1:
        return camera
    return camera.frames(latent_frame_indices(num_latent_frames(camera.num_frames, ratio), ratio))


NODES = [PreviewCameraTrajectory]
