"""Serves one script of this folder: `python serving.py SCRIPT.py`, in the Python of a metric.

It needs numpy, and torch where the script does. Input and output are lines of JSON, as `worker.py`
says. The first request holds the settings for the script's `start(settings)`, which gives back what
answers all further ones, `answer(request, arrays)`, and facts about itself.

An error ends it: its traceback stands in the log, and the other side reads the log's end.

`hub` of the settings closes torch.hub. `repositories`: the folders that stand for repositories on
GitHub. `files`: the files that stand for downloads, by their names. `pickled`: which of those
files, of those that the user chose to trust, hold more than tensors.
"""

import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np


def main() -> None:
    """Answer requests until the input ends."""
    answers = _take_output()
    script = sys.argv[1]
    # The folder of this file holds names of packages' scripts, not packages.
    here = str(Path(__file__).parent)
    sys.path[:] = [place for place in sys.path if place != here]
    answer: Callable[..., dict[str, Any]] | None = None
    for line in sys.stdin:
        message = json.loads(line)
        request = message["request"]
        arrays = {
            name: np.load(place, allow_pickle=False) for name, place in message["arrays"].items()
        }
        if answer is None:
            _close_hub(**request["hub"])
            answer, reply = runpy.run_path(script)["start"](request)
        else:
            reply = answer(request, arrays)
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def _take_output() -> Any:
    """The output of this process; what packages print goes to the log in its place."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output


def _close_hub(
    repositories: dict[str, str], files: dict[str, str], pickled: tuple[str, ...] = ()
) -> None:
    """Let torch.hub read the user's files, and download nothing."""
    import torch

    load_local = torch.hub.load

    def load(repo_or_dir: str, model: str, *args: Any, **kwargs: Any) -> Any:
        named = repo_or_dir.partition(":")[0]
        folder = repositories.get(named)
        if folder is None:
            raise RuntimeError(f"nothing is downloaded, and no folder stands for {repo_or_dir}")
        # These choose what is downloaded.
        for word in ("source", "trust_repo", "force_reload", "skip_validation"):
            kwargs.pop(word, None)
        return load_local(folder, model, *args, source="local", **kwargs)

    def load_state_dict_from_url(url: str, *_args: Any, **_kwargs: Any) -> Any:
        name = urlparse(url).path.rpartition("/")[2]
        if name not in files:
            raise RuntimeError(f"nothing is downloaded, and no file stands for {url}")
        return torch.load(files[name], map_location="cpu", weights_only=name not in pickled)

    def download_url_to_file(url: str, *_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError(f"nothing is downloaded: {url}")

    torch.hub.load = load
    torch.hub.load_state_dict_from_url = load_state_dict_from_url
    torch.hub.download_url_to_file = download_url_to_file


if __name__ == "__main__":
    main()
