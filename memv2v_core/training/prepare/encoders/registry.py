"""The encoder of each kind."""

from ....weights.weight_files import DTYPES
from ..config import EncoderConfig
from .built_in import BuiltinEncoder
from .protocol import Encoder, device_of
from .umt5 import Umt5
from .wan import WanEncoder


def encoder_of(config: EncoderConfig) -> Encoder:
    """The encoder that `config` names; its weights are not read yet.

    Raises: ValueError where files are missing, naming where they are published.
    """
    device = device_of(config.device)
    if config.kind == "built_in":
        return BuiltinEncoder(config.model, device)
    vae, text = config.vae, None
    if config.folder is not None:
        vae = vae or config.folder / "vae"
        if config.has_text:
            text = Umt5(config.folder, DTYPES[config.text_precision], device)
    assert vae is not None, "checked by EncoderConfig"
    return WanEncoder(vae, text, DTYPES[config.precision], device, config.is_tiled)
