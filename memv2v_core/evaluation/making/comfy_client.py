"""A running ComfyUI over HTTP: upload a clip, run a workflow, fetch the videos that it saved."""

import json
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

_POLL_S, _ANSWER_S, _TRANSFER_S = 0.5, 60.0, 600.0
_SUBFOLDER = "memory_v2v_scoring"
_VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm"}


@dataclass(frozen=True)
class SavedVideo:
    """A video that a node saved on the server."""

    node: str
    filename: str
    subfolder: str
    folder_type: str


class ComfyClient:
    """One server.

    Raises: ValueError for a missing package, and in every method for a server that does not answer
    or refuses; the text says what it said.
    """

    def __init__(self, url: str) -> None:
        try:
            import httpx
        except ImportError as error:
            raise ValueError(
                f"workflows need the package httpx ({error}); run pip install httpx"
            ) from error
        self.url = url.rstrip("/")
        self._errors = httpx.HTTPError
        self._http = httpx.Client(base_url=self.url, timeout=_ANSWER_S)

    def check(self) -> None:
        """Ask whether somebody answers."""
        self._json("GET", "/system_stats")

    def upload(self, clip: Path) -> str:
        """The name by which Load Video knows the clip now."""
        with clip.open("rb") as file:
            held = self._json(
                "POST",
                "/upload/image",
                files={"image": (clip.name, file)},
                data={"type": "input", "subfolder": _SUBFOLDER, "overwrite": "true"},
                timeout=_TRANSFER_S,
            )
        return str(PurePosixPath(held["subfolder"], held["name"]))

    def run(self, prompt: dict[str, Any], timeout_s: float) -> list[SavedVideo]:
        """The videos that the nodes of a workflow saved, in their order."""
        answer = self._json("POST", "/prompt", json={"prompt": prompt})
        if answer.get("node_errors"):
            self._json("POST", "/queue", json={"delete": [answer["prompt_id"]]})
            raise ValueError(_refusal(answer))
        deadline, prompt_id = time.monotonic() + timeout_s, answer["prompt_id"]
        while time.monotonic() < deadline:
            entry = self._json("GET", f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                _require_success(entry)
                return _videos_of(entry)
            time.sleep(_POLL_S)
        self._json("POST", "/interrupt", json={"prompt_id": prompt_id})
        raise ValueError(
            f"the workflow did not end within {timeout_s:g} s; raise timeout_s in the suite"
        )

    def fetch(self, video: SavedVideo) -> bytes:
        """The bytes of a saved video."""
        query = {
            "filename": video.filename,
            "subfolder": video.subfolder,
            "type": video.folder_type,
        }
        return self._answer("GET", "/view", params=query, timeout=_TRANSFER_S)

    def _json(self, method: str, path: str, **request: Any) -> Any:
        data = self._answer(method, path, **request)
        return json.loads(data) if data else {}

    def _answer(self, method: str, path: str, **request: Any) -> bytes:
        try:
            answer = self._http.request(method, path, **request)
        except self._errors as error:
            raise ValueError(
                f"server got {self.url}, which does not answer ({error}); start ComfyUI there, or "
                "correct the suite"
            ) from error
        if answer.status_code == 400 and path == "/prompt":
            raise ValueError(_refusal(answer.json()))
        if answer.status_code >= 400:
            raise ValueError(
                f"{self.url}{path} answered {answer.status_code}: {answer.text[:300]}; look at "
                "ComfyUI's log"
            )
        return answer.content


def _refusal(answer: dict[str, Any]) -> str:
    reasons = [
        f"{node['class_type']} ({number}): {error['message']} {error['details']}".strip()
        for number, node in (answer.get("node_errors") or {}).items()
        for error in node["errors"]
    ]
    said = "; ".join(reasons) or answer.get("error", {}).get("message", "it said nothing")
    return f"ComfyUI refuses the workflow: {said}; correct it in the page and export it again"


def _require_success(entry: dict[str, Any]) -> None:
    status = entry.get("status") or {}
    if status.get("status_str") == "success":
        return
    failures = [held for kind, held in status.get("messages", ()) if kind == "execution_error"]
    said = "it was interrupted"
    if failures:
        last = failures[-1]
        said = f"{last['node_type']} ({last['node_id']}) said: {last['exception_message'].strip()}"
    raise ValueError(f"the workflow did not finish: {said}")


def _videos_of(entry: dict[str, Any]) -> list[SavedVideo]:
    return [
        SavedVideo(node, item["filename"], item.get("subfolder", ""), item["type"])
        for node, outputs in entry["outputs"].items()
        for items in outputs.values()
        if isinstance(items, list)
        for item in items
        # Previews are of type "temp".
        if isinstance(item, dict)
        and item.get("type") == "output"
        and Path(item.get("filename", "")).suffix.lower() in _VIDEO_SUFFIXES
    ]
