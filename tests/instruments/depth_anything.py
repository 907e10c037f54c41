"""Random weights of Depth Anything 3 in the key layout of its Small checkpoint, with a narrow head.

The camera decoder is nearly constant: every view has a lens of 1 radian and nearly no rotation, as
networks of random numbers have no lens at all.
"""

import torch

_FOV_RAD, _NOISE = 1.0, 0.02


def small_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """State of ComfyUI's `DepthAnything3Net`; needs a ComfyUI that has it."""
    import comfy.ops
    from comfy.ldm.depth_anything_3.model import DepthAnything3Net

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = DepthAnything3Net(
            backbone_name="vits",
            out_layers=(5, 7, 9, 11),
            alt_start=4,
            qknorm_start=4,
            rope_start=4,
            cat_token=True,
            head_type="dualdpt",
            head_dim_in=768,
            head_output_dim=2,
            head_features=16,
            head_out_channels=(8, 8, 16, 16),
            head_use_sky_head=False,
            has_cam_enc=True,
            has_cam_dec=True,
            dtype=torch.float32,
            operations=comfy.ops.disable_weight_init,
        )
        state = {name: _random(name, value) for name, value in network.state_dict().items()}
    # Translation, quaternion (x, y, z, w) and both angles of view.
    state["cam_dec.fc_t.bias"] = torch.zeros(3)
    state["cam_dec.fc_qvec.bias"] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    state["cam_dec.fc_fov.0.bias"] = torch.full((2,), _FOV_RAD)
    state["cam_dec.fc_fov.0.weight"] = torch.zeros_like(state["cam_dec.fc_fov.0.weight"])
    return state


def _random(name: str, value: torch.Tensor) -> torch.Tensor:
    if value.ndim < 2:
        is_gain = name.endswith(("weight", "gamma", "lambda1"))
        return torch.ones_like(value) if is_gain else torch.zeros_like(value)
    noise = torch.randn(value.shape) / value[0].numel() ** 0.5
    return noise * _NOISE if name.startswith("cam_dec.fc_") else noise
