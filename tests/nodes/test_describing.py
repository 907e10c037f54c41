"""Describe Base: a MODEL of any loader counts as the base that the user names."""

import pytest
import torch
from instruments.tiny_wan import wan_weights

WAN, BERNINI = "Wan2.1 T2V", "Bernini-R"


@pytest.fixture
def describe(comfy_api):
    """A MODEL after Describe Base, and what the node shows."""
    from memory_v2v.nodes.describing import DescribeBase

    def run(model, base: str = BERNINI, sets_shift: bool = True):
        output = comfy_api.run_node(DescribeBase, model=model, base=base, sets_shift=sets_shift)
        return output.result[0], output.ui.as_dict()["text"][0]

    return run


@pytest.fixture
def load(comfy_api, tiny_wan):
    """A MODEL of Load Memory-V2V Model from a random Wan under any file name, and its report."""
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    def run(name: str):
        output = comfy_api.run_node(
            LoadMemoryV2VModel, model_name=tiny_wan.save(wan_weights(), name)
        )
        return output.result[0], output.ui.as_dict()["text"][0]

    return run


def info(model):
    from memory_v2v.nodes.host.models.attachment import base_info

    return base_info(model)


def shift(model) -> float:
    return model.get_model_object("model_sampling").shift


def test_the_choices_are_bases_whose_files_look_alike(comfy_api) -> None:
    from memory_v2v.nodes.describing import DescribeBase

    assert DescribeBase.define_schema().inputs[1].options == [WAN, BERNINI]


def test_a_model_of_another_loader_counts_as_the_named_base(describe, wan_model) -> None:
    model, text = describe(wan_model)
    found = info(model)
    assert found.model_name == "Bernini-R (Wan 3 blocks of 256)"
    assert (found.stream_identity, found.max_source_id) == ("source_id", 5)
    assert "Bernini-R (Wan 3 blocks of 256), training-free mode\nflow shift 3\n" in text
    assert "takes no camera paths; choose memories with Recent Retrieve" in text
    # The MODEL that came in stays as it was.
    assert info(wan_model).stream_identity == "temporal_ranges"
    assert (shift(wan_model), shift(model)) == (8.0, 3.0)


def test_the_shift_stays_where_it_is_not_set(comfy_api, tiny_wan, describe, wan_model) -> None:
    node = tiny_wan.extra("nodes_model_advanced", "ModelSamplingSD3")
    own = tiny_wan.run(node, model=wan_model, shift=6.0)
    kept, text = describe(own, sets_shift=False)
    assert shift(kept) == 6.0
    assert "flow shift 6" in text
    assert shift(describe(own)[0]) == 3.0


def test_a_described_model_samples_as_the_loaded_file(tiny_wan, describe, load, wan_model) -> None:
    loaded, _ = load("bernini_tiny.safetensors")
    turns = [
        tiny_wan.turn(
            model,
            adapter=None,
            plan=None,
            source_camera=None,
            target_camera=None,
        )
        for model in (loaded, describe(wan_model)[0], describe(load("wan.safetensors")[0])[0])
    ]
    first, second, third = (tiny_wan.sample(turn) for turn in turns)
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    # Bernini's source carries its number in its rotation, Wan's has a range of its own.
    wan, _ = describe(loaded, WAN)
    plain = tiny_wan.turn(wan, adapter=None, plan=None, source_camera=None, target_camera=None)
    assert not torch.equal(tiny_wan.sample(plain), first)


def test_the_loader_says_what_told_the_base(load, describe) -> None:
    model, text = load("Bernini_tiny.safetensors")
    assert info(model).stream_identity == "source_id"
    assert "told by 'bernini' in the file's name; if it is Wan2.1 T2V, say so with Describe" in text
    model, text = load("edit_tiny.safetensors")
    assert info(model).stream_identity == "temporal_ranges"
    assert "a file of Bernini-R looks the same; if it is one, say so with Describe Base" in text
    described, text = describe(model)
    assert info(described).stream_identity == "source_id"
    assert "told by" not in text


@pytest.mark.parametrize(
    ("width", "num_blocks", "base", "wanted"),
    [
        (1536, 30, BERNINI, "Bernini-R (Wan2.1 1.3B)"),
        (5120, 40, BERNINI, "Bernini-R (Wan2.2 A14B)"),
        (1536, 30, WAN, "Wan2.1 T2V 1.3B"),
        (5120, 40, WAN, "Wan T2V 14B"),
    ],
)
def test_a_published_size_has_the_name_that_the_loader_gives(
    describe, wan_model, monkeypatch, width: int, num_blocks: int, base: str, wanted: str
) -> None:
    from memory_v2v.nodes.host.models import published
    from memv2v_core.bases.published import DitSizes

    sizes = DitSizes(width, num_blocks, 16, 16)
    monkeypatch.setattr(published, "dit_sizes", lambda _: sizes)
    assert info(describe(wan_model, base)[0]).model_name == wanted


def test_what_the_description_would_contradict_is_refused(
    tiny_wan, describe, wan_model, tiny_model
) -> None:
    from memory_v2v.nodes.host.models.attachment import with_adapter

    with pytest.raises(ValueError, match="has an adapter, wanted one without: .* behind the load"):
        describe(with_adapter(wan_model, tiny_wan.adapter))
    with pytest.raises(ValueError, match="built-in: tiny, which has an adapter"):
        describe(tiny_model)
    remembering = tiny_wan.turn(
        wan_model, adapter=None, plan=None, source_camera=None, target_camera=None
    )
    with pytest.raises(ValueError, match="with memory from Apply Memory, wanted one without"):
        describe(remembering.model)
    lucy = tiny_wan.load(tiny_wan.save(wan_weights(96, 48), "tiny_lucy.safetensors"))
    with pytest.raises(
        ValueError,
        match="base got Bernini-R, of 16 input and 16 output channels, but model is .*, of 96 and",
    ):
        describe(lucy)
    with pytest.raises(ValueError, match="base got 'Flux', wanted one of Wan2.1 T2V, Bernini-R"):
        describe(wan_model, "Flux")


def test_cameras_on_bernini_are_refused_by_name(tiny_wan, describe, wan_model) -> None:
    model, _ = describe(wan_model)
    for camera in ("source_camera", "target_camera"):
        paths = {"source_camera": None, "target_camera": None, camera: tiny_wan.path("pan_left")}
        with pytest.raises(
            ValueError, match=rf"{camera} got a path, but Bernini-R .* has no camera weights"
        ):
            tiny_wan.turn(model, adapter=None, plan=None, **paths)


def test_videofov_says_that_turns_of_bernini_have_no_camera(
    comfy_api, tiny_wan, describe, wan_model
) -> None:
    from memory_v2v.nodes.retrieval import VideoFOVRetrieve
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    model, _ = describe(wan_model)
    given = {
        "positive": tiny_wan.prompt(1),
        "source": {"samples": tiny_wan.video(3)[None]},
        "seed": 1,
        "steps": 1,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
    }
    cache = comfy_api.run_node(MemoryV2VSampler, model=model, **given).result[1]
    path = tiny_wan.path("pan_left")
    output = comfy_api.run_node(
        VideoFOVRetrieve, cache=cache, camera=path, k=3, balance=0.5, radius=1.0
    )
    assert len(output.result[0].ranked) == 1
    assert "1 of 1 turns have no camera path and count as static" in str(output.ui.as_dict())
