"""The pack's attention kernels, and ComfyUI's attention as it is on a GPU."""

import pytest


@pytest.fixture
def kernels(comfy_api):
    """The module."""
    from memory_v2v.nodes.host.patch import attention_kernel

    return attention_kernel


@pytest.fixture
def pytorch_attention(comfy_api, monkeypatch: pytest.MonkeyPatch):
    """ComfyUI's attention as it is on a GPU, or with --use-pytorch-cross-attention."""
    import comfy.ldm.modules.attention
    import comfy.ldm.wan.model

    attention = comfy.ldm.modules.attention.attention_pytorch
    for module in (comfy.ldm.modules.attention, comfy.ldm.wan.model):
        monkeypatch.setattr(module, "optimized_attention", attention)
    return attention
