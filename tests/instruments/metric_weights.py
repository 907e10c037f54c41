"""Small networks with random weights in the files that the metrics read."""

from pathlib import Path

import torch

from memv2v_core.evaluation.metrics.feature_consistency import CLIP, DINO
from memv2v_core.evaluation.metrics.lpips import ALEXNET


def save_dino(folder: Path) -> None:
    """A DINOv2 in the folder of its name."""
    import transformers

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = transformers.Dinov2Config(**sizes, mlp_ratio=2, image_size=224)
        transformers.Dinov2Model(config).save_pretrained(folder / DINO.name)


def save_clip(folder: Path) -> None:
    """A CLIP in the folder of its name."""
    import transformers

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        sizes |= {"intermediate_size": 64, "projection_dim": 24}
        config = transformers.CLIPConfig(
            vision_config={**sizes, "patch_size": 32},
            text_config={**sizes, "vocab_size": 50},
            projection_dim=24,
        )
        transformers.CLIPModel(config).save_pretrained(folder / CLIP.name)


def save_alexnet(folder: Path) -> None:
    """The layers of AlexNet that LPIPS reads, in the folder of their name."""
    import torchvision

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(2)
        trunk = torchvision.models.alexnet(weights=None).features
    (folder / ALEXNET.name).mkdir(parents=True)
    named = {f"features.{name}": value for name, value in trunk.state_dict().items()}
    torch.save(named, folder / ALEXNET.name / ALEXNET.weight_files[0])
