import torch

from memv2v_core.builtin import bundle
from memv2v_core.builtin.bundle import build_dit, load_bundle, save_bundle
from memv2v_core.builtin.codec import Codec
from memv2v_core.builtin.info import BuiltinInfo, DitConfig
from memv2v_core.builtin.text_encoder import TextConfig, TextEncoder, train_vocabulary
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter

SENTENCES = ("put a hat on the box", "give the ball a new colour", "make the ring red")
CONFIG = TextConfig(dim=16, num_layers=1, num_heads=2, head_dim=8, ffn_dim=24, num_tokens=10)


def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(CONFIG, train_vocabulary(SENTENCES, 60)).eval()


def test_prompts_are_padded_with_zeros_after_their_end():
    with torch.no_grad():
        states = encoder()(["", SENTENCES[0]])
    assert states.shape[0] == 2
    assert states.shape[1] >= 10
    assert states.shape[2] == 16
    assert states[0, 1:].abs().max() == 0
    assert states[0, 0].abs().max() > 0
    assert states[1, 1].abs().max() > 0


def test_a_prompt_does_not_depend_on_its_neighbours():
    model = encoder()
    with torch.no_grad():
        alone, beside = (
            model([SENTENCES[2]]),
            model([SENTENCES[2], "a much longer prompt, of letters it never saw: zzz"]),
        )
    torch.testing.assert_close(beside[:1, : alone.shape[1]], alone)


def test_text_that_the_vocabulary_never_saw_is_spelled_out():
    with torch.no_grad():
        a, b = encoder()(["\u4e16\u754c"]), encoder()(["\u4e16\u754d"])
    assert not torch.equal(a, b)


def test_a_vocabulary_is_the_same_every_time():
    assert train_vocabulary(SENTENCES, 60) == train_vocabulary(SENTENCES, 60)


def test_a_bundle_with_text_loads_as_it_was_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    sizes = DitConfig(64, 2, 2, 64, text_dim=16, freq_dim=16, channels=48, has_source_channels=True)
    info = BuiltinInfo("Editor", 32, 5, 3.0, 4, sizes, task="text_edit", text=CONFIG)
    text = encoder().half().float()
    adapter = MemoryAdapter(AdapterConfig(64, 2, 96, has_cameras=False))
    save_bundle(info, "editor", build_dit(sizes), adapter, Codec(48), text)
    loaded = load_bundle("editor")
    assert loaded.info == info
    assert loaded.codec.ratios.channels == 48
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_prompt(SENTENCES), text(SENTENCES))
