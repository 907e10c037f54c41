"""MemV2VReshootVideo: a clip filmed again along a list of camera paths, in one node."""

from collections.abc import Mapping
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, InputImpl, io

from ...memv2v_core.cameras.trajectory import CameraTrajectory
from ...memv2v_core.cameras.written import parse_paths
from ...memv2v_core.clips.fitted_cameras import fitted_source_path
from ...memv2v_core.long_edit.settings import SamplerSettings
from ...memv2v_core.reshoot.loop import reshoot_clip
from ...memv2v_core.reshoot.report import describe_moves, describe_others, describe_reshoot
from ...memv2v_core.reshoot.settings import Reshoot, TurnMemory
from ..host.batches import batch_notes
from ..host.live.run import LiveRun
from ..host.menu import in_menu
from ..host.models.attachment import LoadedAdapter, base_info, with_adapter
from ..host.reshoot.clip import FitSettings, moves_of, open_shot
from ..host.reshoot.host import ReshootHost, require_cameras
from ..host.reshoot.inputs import reshoot_inputs
from ..host.reshoot.videos import TurnVideoSettings
from ..host.resuming_inputs import redo_settings
from ..host.sampling.experts import describe_experts
from ..host.sampling.prompt_text import typed_prompt
from ..host.sampling.turns import negative_or_unread, required_prompts
from ..host.sessions.by_hand import hand_changes
from ..host.sessions.clip_names import session_for
from ..host.sessions.folders import refused_name
from ..host.sessions.saving import open_cache
from ..host.shared_inputs import defaults_of, settings_from
from ..host.shown import VideosAndText, teller
from ..io_types import SESSION_LIST, CacheSocket

_INPUTS = reshoot_inputs(
    io.String.Input(
        "session",
        default="",
        extra_dict=SESSION_LIST,
        tooltip="Name of the session on disk (output/memory_v2v/NAME) that holds the finished "
        "turns. Empty: the clip's name. Use one session per clip.",
    ),
    io.Model.Input(
        "model",
        tooltip="A model that takes camera paths: built-in novel_view or novel_view_depth, "
        "ReCamMaster or SpaceTimePilot.",
    ),
    io.Vae.Input("vae", tooltip="That model's VAE."),
)


class ReshootVideo(io.ComfyNode):
    """All turns of a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VReshootVideo",
            display_name="Re-shoot Video",
            **in_menu("MemV2VReshootVideo"),
            description="Films a clip again along one camera path after another. Each turn sees "
            "the earlier turns that looked at the same places, so what one invents the next ones "
            "show again. The clip is fitted to the model and each result to the clip. Finished "
            "turns are saved at once: an interrupted run resumes where it stopped, and an "
            "unchanged run makes nothing twice.",
            inputs=_INPUTS,
            outputs=[
                io.Video.Output(
                    display_name="videos",
                    is_output_list=True,
                    tooltip="One video a path, in their order, with the clip's frame count, rate "
                    "and sound. Save Video saves each.",
                ),
                io.Video.Output(display_name="video", tooltip="The video of the last path alone."),
                CacheSocket.Output(
                    display_name="cache", tooltip="The session, with every turn as an entry."
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="The path of each turn, what it saw, and which turns are new or stale.",
                ),
            ],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls, session: str | None = None, paths: str | None = None, cameras: object = None
    ) -> bool | str:
        # ComfyUI adds a group of sockets to every call, without what is linked to them.
        del cameras
        try:
            parse_paths(paths or "")
        except ValueError as error:
            return str(error)
        return refused_name(session) or True

    @classmethod
    def fingerprint_inputs(cls, session: str | None = "", **_others: object) -> str:
        # What a user pins or forgets in the Memory Bank decides what the turns see.
        return hand_changes(session)

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        paths: str,
        video: Input.Video | None = None,
        images: torch.Tensor | None = None,
        cameras: Mapping[str, CameraTrajectory] | None = None,
        source_camera: CameraTrajectory | None = None,
        positive: list | None = None,
        negative: list | None = None,
        adapter: LoadedAdapter | None = None,
        low_noise_model: ModelPatcher | None = None,
        audio: dict | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        widgets = {**defaults_of(_INPUTS), **widgets}
        sampler = settings_from(SamplerSettings, widgets)
        memory = settings_from(TurnMemory, widgets)
        writing = settings_from(TurnVideoSettings, widgets)

        # Step 1: what can be refused is refused before anything is sampled.
        model = with_adapter(model, adapter)
        info = base_info(model)
        require_cameras(info)
        negative = negative_or_unread(positive, negative, sampler.cfg)
        required_prompts(positive, negative, info)
        experts = describe_experts(model, low_noise_model, sampler)
        tell, rate = teller(cls.hidden), widgets["frame_rate"]
        shot = open_shot(
            info, settings_from(FitSettings, widgets), video, images, rate, audio, tell
        )
        source_path = source_camera and fitted_source_path(source_camera, shot.plan)
        moves, remarks = moves_of(shot, paths, cameras or {}, source_path, widgets["fov_deg"])
        redo = redo_settings(widgets, len(moves), "turns of this list")
        session, named = session_for(
            widgets["session"], video, images, info.model_name, shot.latent_shape
        )
        tell(named)

        # Step 2: make every turn, or keep it from an earlier run. Each is shown at once.
        with LiveRun(cls.hidden, model, "turn", len(moves)) as live:
            host = ReshootHost(
                model=model,
                vae=vae,
                positive=positive,
                negative=negative,
                sampler=sampler,
                low_noise_model=low_noise_model,
                fast_attention=widgets["fast_attention"],
                shot=shot,
                memory=memory,
                writing=writing,
                live=live,
                has_source_camera=source_path is not None,
            )
            reshoot = Reshoot(
                base=info,
                moves=moves,
                seed=sampler.seed,
                source_path=source_path,
                memory=memory,
                redo=redo,
                settings_hash=host.settings_hash(),
                prompt=typed_prompt(cls.hidden),
                also_without_memory=widgets["also_without_memory"],
            )
            cache, notes = open_cache(session, cls.hidden)
            made = reshoot_clip(reshoot, cache, host)

        # Step 3: what was done, in words.
        moved = (*describe_moves(reshoot), *named, *remarks)
        lines = (describe_reshoot(made.turns), *moved, *experts, *host.remarks)
        others = describe_others(made.turns, made.cache)
        text = "\n".join((*lines, *batch_notes(cls.hidden), *others, *notes, *made.repairs))
        videos = [InputImpl.VideoFromFile(str(path)) for path in host.videos]
        shown = VideosAndText(host.videos, text, session)
        return io.NodeOutput(videos, videos[-1], made.cache, text, ui=shown)


NODES = [ReshootVideo]
