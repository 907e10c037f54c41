"""Whether this machine downloads anything.

A workflow may come from a stranger, so a node's input alone never starts a download.
"""

import json
import os
from pathlib import Path

import folder_paths
from comfy.cli_args import args

from ....memv2v_core.weights.reading.boundary import Fault, reading
from ....memv2v_core.weights.reading.json_text import read_object

VARIABLE = "MEMV2V_ALLOW_DOWNLOAD"
SETTING = "allow_download"
# In ComfyUI's settings dialog; the page's `web/settings/` registers it.
PAGE_SETTING = "MemoryV2V.AllowDownload"
_WANTED = f'{{"{SETTING}": true}} or {{"{SETTING}": false}}'


def settings_path() -> Path:
    """The file with the pack's settings of this machine, in ComfyUI's user folder.

    No request to the server can write there: the pages of a user reach that user's folder alone.
    """
    return Path(folder_paths.get_user_directory()) / "memory_v2v" / "settings.json"


def machine_allows_download() -> bool:
    """Whether the environment, the settings file of this machine or ComfyUI's settings allow it.

    The settings file decides where it says yes or no: who keeps the machine writes it.

    Raises: ValueError naming a settings file that is broken.
    """
    if os.environ.get(VARIABLE, "").strip() == "1":
        return True
    path = settings_path()
    if not path.exists():
        return _page_allows()
    with reading(path, _WANTED, "correct the file, or delete it"):
        settings = read_object(path, "settings")
        # A word with a slip of the pen must not pass for "no".
        if settings.keys() - {SETTING} or type(settings.get(SETTING, False)) is not bool:
            raise Fault(f"has other settings than {SETTING}, or one that is not true or false")
        return settings[SETTING] if SETTING in settings else _page_allows()


def _page_allows() -> bool:
    """Whether the artist has allowed it in ComfyUI's settings dialog.

    Where several people share a server, none of them decides for the machine.
    """
    if args.multi_user:
        return False
    path = Path(folder_paths.get_user_directory()) / "default" / "comfy.settings.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        # The file is ComfyUI's own, which names it where it is broken. No word of it is no consent.
        return False
    return isinstance(settings, dict) and settings.get(PAGE_SETTING) is True


def how_to_allow() -> str:
    """The two things that make a node download, in words."""
    return (
        f"turn on {SETTING} on a machine that allows downloads (turn on Memory-V2V, Allow "
        "downloads in ComfyUI's settings; or start ComfyUI with the environment variable "
        f'{VARIABLE}=1, or write {{"{SETTING}": true}} into {settings_path()})'
    )
