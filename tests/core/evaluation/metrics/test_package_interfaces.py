"""The real packages have the interfaces that the scripts of `interpreters/scripts/` use.

Read from their sources, so that nothing heavy is imported. Each test needs the package in the
Python of its metric (`dev.py metrics NAME`) and is skipped where it is not there. In November 2026
they passed on vbench 0.1.5 and depth-anything-3 0.1.1 from PyPI, and on commit 3259e41 of
mohammadasim98/met3r with commit f5209af of naver/mast3r.
"""

import ast
import subprocess
from pathlib import Path

import pytest

from memv2v_core.evaluation.metrics.interpreters.finding import find_interpreter

FIND = (
    "import importlib.util, sys; "
    "print(next(iter(importlib.util.find_spec(sys.argv[1]).submodule_search_locations)))"
)


def package_of(metric: str, package: str) -> Path:
    """The folder of a package that the Python of a metric finds."""
    try:
        python = find_interpreter(metric)
    except ValueError as error:
        pytest.skip(f"the real package is not here: {error}")
    found = subprocess.run([str(python), "-I", "-c", FIND, package], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"the Python of {metric} has no package {package}")
    return Path(found.stdout.strip())


def arguments_of(path: Path, name: str) -> dict[str, object]:
    """Arguments of a function, or of "Class.method", with the constants that stand as defaults."""
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for part in name.split("."):
        (node,) = (
            each
            for each in body
            if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.name == part
        )
        body = node.body
    assert isinstance(node, ast.FunctionDef)
    given = [*node.args.posonlyargs, *node.args.args]
    defaults = [None] * (len(given) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = [*zip(given, defaults, strict=True)]
    pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return {
        argument.arg: default.value if isinstance(default, ast.Constant) else None
        for argument, default in pairs
    }


def test_vbench_measures_as_the_script_calls_it() -> None:
    vbench = package_of("vbench", "vbench")
    wanted = {
        ("subject_consistency", "subject_consistency"): ["model", "video_list", "device"],
        ("background_consistency", "background_consistency"): [
            *("clip_model", "preprocess", "video_list", "device", "read_frame")
        ],
        ("aesthetic_quality", "laion_aesthetic"): [
            *("aesthetic_model", "clip_model", "video_list", "device")
        ],
        ("aesthetic_quality", "get_aesthetic_model"): ["cache_folder"],
        ("imaging_quality", "technical_quality"): ["model", "video_list", "device"],
        ("temporal_flickering", "temporal_flickering"): ["video_list"],
        ("motion_smoothness", "motion_smoothness"): ["motion", "video_list"],
        ("motion_smoothness", "MotionSmoothness.__init__"): ["self", "config", "ckpt", "device"],
    }
    for (module, name), arguments in wanted.items():
        assert list(arguments_of(vbench / f"{module}.py", name))[: len(arguments)] == arguments
    reader = arguments_of(vbench / "utils.py", "load_video")
    assert (next(iter(reader)), reader["return_tensor"]) == ("video_path", True)
    assert (vbench / "third_party/amt/cfgs/AMT-S.yaml").is_file()
    source = (vbench / "aesthetic_quality.py").read_text(encoding="utf-8")
    assert '"/sa_0_4_vit_l_14_linear.pth"' in source
    utils = (vbench / "utils.py").read_text(encoding="utf-8")
    for named in ("dino_vitb16", "musiq_spaq_ckpt-358bb6af.pth", "amt-s.pth", "ViT-L-14.pt"):
        assert named in utils


def test_the_packages_that_vbench_uses_load_as_the_script_calls_them() -> None:
    clip, pyiqa = package_of("vbench", "clip"), package_of("vbench", "pyiqa")
    assert list(arguments_of(clip / "clip.py", "load"))[:2] == ["name", "device"]
    musiq = arguments_of(pyiqa / "archs/musiq_arch.py", "MUSIQ.__init__")
    assert "pretrained_model_path" in musiq


def test_depth_anything_infers_as_the_script_calls_it() -> None:
    package = package_of("pose_da3", "depth_anything_3")
    api = package / "api.py"
    assert "model_name" in arguments_of(api, "DepthAnything3.__init__")
    inference = arguments_of(api, "DepthAnything3.inference")
    assert list(inference)[:2] == ["self", "image"]
    expected = {
        "process_res": 504,
        "use_ray_pose": False,
        "ref_view_strategy": "saddle_balanced",
        "export_dir": None,
    }
    assert {name: inference[name] for name in expected} == expected
    for model in ("da3-small", "da3-base"):
        assert (package / "configs" / f"{model}.yaml").is_file()
    # The network's camera is turned around before it is handed out: world to camera.
    net = (package / "model/da3.py").read_text(encoding="utf-8")
    assert "output.extrinsics = affine_inverse(c2w)" in net


def test_met3r_measures_as_the_script_calls_it() -> None:
    package = package_of("met3r", "met3r")
    source = package / "met3r.py"
    made = arguments_of(source, "MEt3R.__init__")
    expected = {
        "img_size": 256,
        "use_norm": True,
        "backbone": "mast3r",
        "feature_backbone": "dino16",
        "feature_backbone_weights": "mhamilton723/FeatUp",
        "upsampler": "featup",
        "distance": "cosine",
        "freeze": True,
    }
    assert {name: made[name] for name in expected} == expected
    called = arguments_of(source, "MEt3R.forward")
    assert list(called)[1] == "images"
    assert called["return_overlap_mask"] is False
    text = source.read_text(encoding="utf-8")
    assert "from_pretrained(backbone_to_weights[backbone])" in text
    assert "torch.hub.load(feature_backbone_weights, feature_backbone, use_norm=use_norm)" in text
    # The order of what comes back: the score, then the mask.
    assert text.index("outputs = [weighted]") < text.index("outputs.append(mask)")
    loaded = arguments_of(
        package.parent / "mast3r/mast3r/model.py", "AsymmetricMASt3R.from_pretrained"
    )
    assert "pretrained_model_name_or_path" in loaded
