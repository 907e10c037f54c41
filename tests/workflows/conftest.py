"""Small random files for the one server of a session."""

import pytest
from instruments.depth_anything import small_weights
from instruments.server_files import DA3_FILE, files_of_layouts, save


@pytest.fixture(scope="session")
def models(comfy_api, comfy_server) -> None:
    """A file of every layout under the server's models folder, written once.

    The server maps its files, so none may change under it.
    """
    folder = comfy_server.base_dir / "models"
    save(folder, files_of_layouts())
    if (comfy_api.comfyui / "comfy_extras" / "nodes_depth_anything_3.py").is_file():
        save(folder, {f"geometry_estimation/{DA3_FILE}": small_weights()})


@pytest.fixture(scope="module")
def object_info(comfy_server, models) -> dict:
    """The schemas of all nodes, with the small files among their choices."""
    return comfy_server.api.object_info()
