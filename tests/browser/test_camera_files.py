"""The button of Import Camera Trajectory brings a file from the artist's disk into the node."""

import json
from pathlib import Path

import pytest
from instruments.camera_files import CONTENTS

from devtools.browser.bench import Bench

BUTTON = ".memv2v-camera-upload"


@pytest.fixture
def camera_file(tmp_path: Path) -> Path:
    path = tmp_path / "browser upload.json"
    path.write_text(json.dumps(CONTENTS["transforms"]), encoding="utf-8")
    return path


def test_a_camera_file_is_uploaded_and_chosen(bench: Bench, camera_file: Path) -> None:
    node = bench.add("MemV2VImportCameraTrajectory", (100, 100))
    bench.show_all()
    button = bench.page.locator(BUTTON)
    assert button.inner_text() == "Upload a camera file"
    with bench.page.expect_file_chooser() as asked:
        button.press("Enter")
    asked.value.set_files(camera_file)
    bench.wait_until(
        """(id, name) => app.graph.getNodeById(id).widgets
          .find((held) => held.name === 'file').value === name""",
        node,
        camera_file.name,
    )
    kept = bench.server.base_dir / "input" / camera_file.name
    assert kept.read_bytes() == camera_file.read_bytes()
    # The button is no input: nothing of it stands in the saved graph.
    (saved,) = bench.saved()["nodes"]
    assert camera_file.name in saved["widgets_values"]
    assert not any("camera file" in str(value) for value in saved["widgets_values"])
    assert not bench.problems
