"""CUT3R through a checkout: a stand-in with its interface, and the real source where it is named.

MEMV2V_CUT3R names a checkout of https://github.com/CUT3R/CUT3R.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from memv2v_core.context.cut3r import (
    VIEW_KEYS,
    Cut3rEncoder,
    Cut3rPlace,
    load_cut3r,
    recurrent_views,
    require_checkout,
)

# A recurrence of our own: the state takes in the mean colour of every view that updates it.
STAND_IN = """
import torch


class ARCroco3DStereo(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.dec_embed_dim = weight.shape[1]
        self.weight = torch.nn.Parameter(weight)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kw):
        return cls(torch.load(pretrained_model_name_or_path, weights_only=True))

    def forward_recurrent(self, views, device, ret_state=False):
        state = torch.zeros(1, 16, self.dec_embed_dim, device=device)
        mem = torch.zeros(1, 2, 4)
        results, states = [], [(state, None, state, mem, mem)]
        for view in views:
            assert view["ray_map"].shape == (1, *view["img"].shape[-2:], 6)
            assert view["true_shape"].tolist() == [list(view["img"].shape[-2:])]
            assert not view["ray_mask"].any() and not view["reset"].any()
            seen = view["img"].mean((2, 3)) @ self.weight
            update = (view["img_mask"] & view["update"])[:, None, None].float()
            state = state * (1 - update) + update * torch.tanh(0.5 * state + seen[:, None])
            results.append({})
            states.append((state, None, states[0][0], mem, mem))
        if ret_state:
            return results, views, states
        return results, views
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A folder with the interface of a checkout, forgotten by Python afterwards."""
    model = tmp_path / "CUT3R" / "src" / "dust3r" / "model.py"
    model.parent.mkdir(parents=True)
    model.write_text(STAND_IN, encoding="utf-8")
    before = list(sys.path)
    yield tmp_path / "CUT3R"
    for name in [each for each in sys.modules if each.partition(".")[0] == "dust3r"]:
        del sys.modules[name]
    assert sys.path == before


@pytest.fixture
def place(checkout: Path, tmp_path: Path) -> Cut3rPlace:
    weights = tmp_path / "cut3r.pth"
    torch.save(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), weights)
    return Cut3rPlace(checkout, weights, size=64)


def test_the_state_behind_the_last_frame_is_the_context(
    place: Cut3rPlace, make_clip: Callable, make_path: Callable
):
    encoder = load_cut3r(place)
    clip, path = make_clip(5, 48, 80), make_path(5)
    tokens = encoder.encode(clip, path)
    assert tokens.shape == (16, encoder.width) == (16, 8)
    # The stand-in's recurrence, written out on the pictures that CUT3R sees.
    state = torch.zeros(16, 8)
    for view in recurrent_views(clip, 64, torch.device("cpu")):
        state = torch.tanh(0.5 * state + view["img"].mean((2, 3)) @ encoder.model.weight)
    torch.testing.assert_close(tokens, state)
    # A recurrence: the order of frames counts, and so does every frame.
    assert (encoder.encode(clip.flip(0), path) - tokens).abs().max() > 1e-5
    changed = clip.clone()
    changed[0] = 1 - changed[0] / 2
    assert (encoder.encode(changed, path) - tokens).abs().max() > 1e-5
    assert encoder.identity.endswith("size 64")


def test_other_weights_are_another_identity(place: Cut3rPlace):
    first = load_cut3r(place).identity
    torch.save(torch.ones(3, 8), place.weights)
    assert load_cut3r(place).identity != first


@pytest.mark.parametrize(
    ("sides", "size", "wanted"),
    [
        # Height and width; the long side becomes `size`, both are whole patches of 16.
        ((48, 80), 512, (304, 512)),
        ((80, 48), 512, (512, 304)),
        ((48, 80), 224, (224, 224)),
        ((128, 128), 512, (512, 512)),
    ],
)
def test_views_have_whole_patches(
    make_clip: Callable, sides: tuple[int, int], size: int, wanted: tuple[int, int]
):
    clip = make_clip(2, *sides)
    views = recurrent_views(clip, size, torch.device("cpu"))
    assert [tuple(view["img"].shape) for view in views] == [(1, 3, *wanted)] * 2
    assert all(set(view) == set(VIEW_KEYS) for view in views)
    assert -1 <= views[0]["img"].min() < -0.5 < 0.5 < views[0]["img"].max() <= 1


def test_an_extreme_aspect_is_refused(make_clip: Callable):
    with pytest.raises(ValueError, match="CUT3R got frames of 400 x 8, wanted an aspect"):
        recurrent_views(make_clip(1, 8, 400), 512, torch.device("cpu"))


def test_what_is_no_checkout_is_named(place: Cut3rPlace, tmp_path: Path):
    with pytest.raises(ValueError, match=r"has no src/dust3r/model.py; clone https://github.com"):
        load_cut3r(Cut3rPlace(tmp_path / "nowhere", place.weights))
    with pytest.raises(ValueError, match=r"CUT3R's weights got .*missing.pth, which is no file"):
        load_cut3r(Cut3rPlace(place.checkout, tmp_path / "missing.pth"))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("class ARCroco3DStereo", "class Other", "without the class ARCroco3DStereo"),
        ("def from_pretrained", "def load", "without the method from_pretrained"),
        ("device, ret_state=False", "ret_state=False", "without forward_recurrent.self, views"),
        ("return results, views, states", "return results", "without a return of three values"),
        ('view["reset"]', 'view["depth"]', "without views that do without 'depth'"),
        ("import torch", "import torch (", "that is no Python, wanted CUT3R's"),
    ],
)
def test_another_interface_is_named_before_anything_runs(
    place: Cut3rPlace, before: str, after: str, message: str
):
    path = place.checkout / "src" / "dust3r" / "model.py"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_cut3r(place)
    assert "dust3r" not in sys.modules


def test_missing_packages_are_named(place: Cut3rPlace):
    path = place.checkout / "src" / "dust3r" / "model.py"
    text = path.read_text(encoding="utf-8")
    path.write_text("import no_such_package_of_cut3r\n" + text, encoding="utf-8")
    with pytest.raises(ValueError, match="no_such_package_of_cut3r.*install its requirements.txt"):
        load_cut3r(place)


def test_one_process_takes_one_checkout(place: Cut3rPlace, tmp_path: Path):
    load_cut3r(place)
    load_cut3r(place)
    other = tmp_path / "other"
    (other / "src" / "dust3r").mkdir(parents=True)
    (other / "src" / "dust3r" / "model.py").write_text(STAND_IN, encoding="utf-8")
    with pytest.raises(ValueError, match="after another one was loaded from .* start again"):
        load_cut3r(Cut3rPlace(other, place.weights))


def test_pickled_weights_are_left_to_the_user(place: Cut3rPlace):
    torch.save({"args": Path("/")}, place.weights)
    with pytest.raises(ValueError, match="if you trust the file, set TORCH_FORCE_NO_WEIGHTS_ONLY"):
        load_cut3r(place)


def test_faults_of_its_recurrence_are_named(
    place: Cut3rPlace, make_clip: Callable, make_path: Callable
):
    class Fails(torch.nn.Module):
        dec_embed_dim = 8

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward_recurrent(self, views, device, ret_state=False):
            if len(views) == 1:
                # What plain torch says to a position of -1.
                return torch.nn.functional.embedding(torch.tensor([-1]), torch.zeros(2, 2))
            return [], views

    encoder = Cut3rEncoder(place, Fails())
    with pytest.raises(ValueError, match=r"refuses the position -1 of its pose token .CUT3R#26."):
        encoder.encode(make_clip(1), make_path(1))
    with pytest.raises(ValueError, match="wanted results, views and 4 states"):
        encoder.encode(make_clip(3), make_path(3))
    with pytest.raises(ValueError, match="CUT3R got 4 cameras for 3 frames"):
        encoder.encode(make_clip(3), make_path(4))


def test_the_real_source_has_the_interface():
    named = os.environ.get("MEMV2V_CUT3R")
    if not named:
        pytest.skip("MEMV2V_CUT3R is not set; it names a checkout of CUT3R")
    require_checkout(Path(named))
