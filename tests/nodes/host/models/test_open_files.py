"""What stays open on the disk: Windows can neither delete nor replace a file that a process has
mapped.
"""

from pathlib import Path

import pytest

MAPS = Path("/proc/self/maps")


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what a process has mapped")
def test_a_loaded_built_in_model_leaves_the_packs_files_to_its_update(comfy_api) -> None:
    from memory_v2v.nodes.loading import LoadMemoryV2VModel, model_names

    (name,) = (name for name in model_names() if name.endswith("novel_view"))
    model, _, vae = comfy_api.run_node(LoadMemoryV2VModel, model_name=name).result
    assert model is not None
    assert vae is not None
    mapped = MAPS.read_text()
    assert "libtorch" in mapped
    assert "novel_view" not in mapped
