"""Broken and hostile files through the loaders: the core's one error, as it is."""

import json
import sys
from pathlib import Path
from random import Random

import pytest
import torch
from instruments.broken_weights import break_bytes, break_safetensors, fault_of, with_config
from instruments.published import save_shards, save_trained_adapter
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]
NUM_MUTATIONS = 12
_opened: list[str] | None = None


def _note(event: str, arguments: tuple) -> None:
    if _opened is not None and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)


def test_the_lists_of_files_open_none(
    loader, adapter_loader, bases: Path, adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (bases, adapters):
        for name in ("a.safetensors", "b.ckpt", "m-00001-of-99999.safetensors"):
            (folder / name).write_bytes(b"\xff" * 99)
    opened: list[str] = []
    monkeypatch.setitem(globals(), "_opened", opened)
    (bases / "a.safetensors").read_bytes()
    assert opened == [str(bases / "a.safetensors")]
    opened.clear()
    names = loader.define_schema().inputs[0].options
    adapter_loader.define_schema()
    assert {"a.safetensors", "b.ckpt", "memv2v: b.ckpt"} <= set(names)
    assert [name for name in opened if name.startswith((str(bases), str(adapters)))] == []


@pytest.mark.parametrize("name", ["wan.safetensors", "wan.ckpt"])
def test_a_changed_base_is_loaded_or_refused_by_name(
    comfy_api, loader, bases: Path, wan21: Weights, name: str
) -> None:
    path, dice = bases / name, Random(17)
    if path.suffix == ".ckpt":
        torch.save(wan21, path)
    else:
        save_file(wan21, str(path))
    whole = path.read_bytes()
    refused = 0
    for _ in range(NUM_MUTATIONS):
        is_plain = path.suffix == ".ckpt" or dice.random() < 0.4
        path.write_bytes((break_bytes if is_plain else break_safetensors)(whole, dice))
        refused += bool(fault_of(lambda: comfy_api.run_node(loader, model_name=name), name))
    assert refused > NUM_MUTATIONS / 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_base_with_nan_is_refused(
    comfy_api, loader, bases: Path, wan21: Weights, dtype: torch.dtype
) -> None:
    values = wan21["blocks.1.ffn.0.weight"].clone()
    values[3, 5] = torch.nan
    save_file({**wan21, "blocks.1.ffn.0.weight": values.to(dtype)}, str(bases / "nan.safetensors"))
    message = fault_of(
        lambda: comfy_api.run_node(loader, model_name="nan.safetensors"), "nan.safetensors in"
    )
    assert "has 1 of 32768 values in 'blocks.1.ffn.0.weight' that are NaN" in message


def test_a_base_larger_than_the_memory_is_not_read_twice(
    comfy_api, loader, bases: Path, wan21: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_v2v.nodes.host.models import published

    looked: list[Path] = []
    monkeypatch.setattr(published, "require_base_finite", lambda path, _: looked.append(path))
    save_file(wan21, str(bases / "wan.safetensors"))
    comfy_api.run_node(loader, model_name="wan.safetensors")
    assert looked == [bases / "wan.safetensors"]
    size = (bases / "wan.safetensors").stat().st_size
    monkeypatch.setattr(
        "comfy.model_management.get_total_memory", lambda *args, **kwargs: 1.9 * size
    )
    comfy_api.run_node(loader, model_name="wan.safetensors")
    assert len(looked) == 1


def test_a_configuration_that_asks_for_a_huge_model_is_refused(
    comfy_api, loader, bases: Path, wan21: Weights
) -> None:
    config = json.dumps({"transformer": {"num_layers": 10**6}})
    save_file(wan21, str(bases / "huge.safetensors"), metadata={"config": config})
    message = fault_of(
        lambda: comfy_api.run_node(loader, model_name="huge.safetensors"), "huge.safetensors in"
    )
    assert "1000000 for num_layers, and tensors for 2" in message


def test_what_comfyui_cannot_build_is_named(comfy_api, loader, bases: Path, wan21: Weights) -> None:
    vae = {"vae.decoder.middle.0.residual.0.gamma": torch.zeros(3)}
    save_file(
        {f"model.diffusion_model.{name}": value for name, value in wan21.items()} | vae,
        str(bases / "all.safetensors"),
    )
    message = fault_of(
        lambda: comfy_api.run_node(loader, model_name="all.safetensors"), "all.safetensors in"
    )
    assert "wanted a VAE that ComfyUI can build" in message


@pytest.mark.parametrize("fault", ["KeyboardInterrupt", "InterruptProcessingException"])
def test_an_interrupt_is_no_broken_file(
    comfy_api, loader, bases: Path, wan21: Weights, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    import comfy.model_management
    import comfy.sd

    kind = KeyboardInterrupt if fault == "KeyboardInterrupt" else None
    kind = kind or comfy.model_management.InterruptProcessingException

    def interrupted(*args: object, **kwargs: object) -> None:
        raise kind

    monkeypatch.setattr(comfy.sd, "load_diffusion_model_state_dict", interrupted)
    save_file(wan21, str(bases / "wan.safetensors"))
    with pytest.raises(kind):
        comfy_api.run_node(loader, model_name="wan.safetensors")


def test_a_hostile_adapter_is_refused_by_both_loaders(
    comfy_api, loader, adapter_loader, bases: Path, adapters: Path, wan21: Weights
) -> None:
    save_file(wan21, str(bases / "wan.safetensors"))
    save_trained_adapter(adapters / "mine.safetensors")
    with_config(adapters / "mine.safetensors", dim=10**9, num_blocks=10**6)
    place = f"mine.safetensors in {adapters} has"
    given = {"model_name": "wan.safetensors", "adapter": "mine.safetensors"}
    assert fault_of(lambda: comfy_api.run_node(loader, **given), place)
    assert fault_of(
        lambda: comfy_api.run_node(adapter_loader, adapter_name="mine.safetensors"), place
    )


def test_code_in_a_checkpoint_is_not_run_by_the_loaders(
    comfy_api, loader, adapter_loader, bases: Path, adapters: Path, tmp_path: Path
) -> None:
    class Runs:
        def __reduce__(self) -> tuple:
            return open, (str(tmp_path / "trace"), "w")

    for folder in (bases, adapters):
        torch.save({"x": Runs()}, folder / "step20000.ckpt")
    for run in (
        lambda: comfy_api.run_node(loader, model_name="step20000.ckpt"),
        lambda: comfy_api.run_node(adapter_loader, adapter_name="step20000.ckpt"),
    ):
        assert "the code" in fault_of(run, "step20000.ckpt in")
    assert not (tmp_path / "trace").exists()


def test_a_set_of_shards_without_end_is_refused_with_a_short_text(
    comfy_api, loader, bases: Path, lucy: Weights
) -> None:
    save_shards(bases / "Lucy", lucy)
    first = next((bases / "Lucy").glob("*-00001-of-00002.safetensors"))
    name = first.name.replace("of-00002", "of-99999")
    first.rename(first.with_name(name))
    model_name = str(Path("Lucy", name))
    message = fault_of(lambda: comfy_api.run_node(loader, model_name=model_name), name)
    assert "shard 1 of 99999 by its name" in message
