"""Whether this machine downloads anything.

A workflow may come from a stranger, so a node's input alone never starts a download.
"""

import os
from pathlib import Path

import folder_paths

from ....memv2v_core.weights.reading.boundary import Fault, reading
from ....memv2v_core.weights.reading.json_text import read_object

VARIABLE = "MEMV2V_ALLOW_DOWNLOAD"
SETTING = "allow_download"
_WANTED = f'{{"{SETTING}": true}} or {{"{SETTING}": false}}'


def settings_path() -> Path:
    """The file with the pack's settings of this machine, in ComfyUI's user folder.

    No request to the server can write there: the pages of a user reach that user's folder alone.
    """
    return Path(folder_paths.get_user_directory()) / "memory_v2v" / "settings.json"


def machine_allows_download() -> bool:
    """Whether the environment or the settings file of this machine allows downloads.

    Raises: ValueError naming a settings file that is broken.
    """
    if os.environ.get(VARIABLE, "").strip() == "1":
        return True
    path = settings_path()
    if not path.exists():
        return False
    with reading(path, _WANTED, "correct the file, or delete it"):
        settings = read_object(path, "settings")
        # A word with a slip of the pen must not pass for "no".
        if settings.keys() - {SETTING} or type(settings.get(SETTING, False)) is not bool:
            raise Fault(f"has other settings than {SETTING}, or one that is not true or false")
        return settings.get(SETTING, False)


def how_to_allow() -> str:
    """The two things that make a node download, in words."""
    return (
        f"turn on {SETTING} on a machine that allows downloads (start ComfyUI with the environment "
        f'variable {VARIABLE}=1, or write {{"{SETTING}": true}} into {settings_path()})'
    )
