"""A running ComfyUI over HTTP: upload a clip, run a workflow, fetch the videos that it saved."""

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

_POLL_S, _ANSWER_S, _TRANSFER_S = 0.5, 60.0, 600.0
_SUBFOLDER, _FIRST_PATH = "memory_v2v_scoring", "/system_stats"
_TRIES, _NAME_DIGITS = 3, 20
_VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm"}


@dataclass(frozen=True)
class SavedVideo:
    """A video that a node saved on the server."""

    node: str
    filename: str
    subfolder: str
    folder_type: str


@dataclass(frozen=True)
class FinishedRun:
    """A run of a workflow. seconds: from its start on the server to its end, without waiting."""

    videos: tuple[SavedVideo, ...]
    seconds: float


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
        # It logs every request, and runs are asked about twice a second.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._errors = (httpx.HTTPError, httpx.InvalidURL)
        try:
            self._http = httpx.Client(base_url=self.url, timeout=_ANSWER_S)
        except self._errors as error:
            raise ValueError(f"server got {url!r}, which is no address ({error})") from error

    def check(self) -> None:
        """Ask whether somebody answers."""
        self._json("GET", _FIRST_PATH)

    def upload(self, name: str, clip: bytes) -> str:
        """The name by which Load Video knows the clip now.

        On the server it is named after its content: suites of one name for two clips never mix.
        """
        digest = hashlib.sha256(clip).hexdigest()[:_NAME_DIGITS]
        held = self._json(
            "POST",
            "/upload/image",
            files={"image": (f"{digest}{Path(name).suffix}", clip)},
            data={"type": "input", "subfolder": _SUBFOLDER, "overwrite": "true"},
            timeout=_TRANSFER_S,
        )
        return str(PurePosixPath(held["subfolder"], held["name"]))

    def run(self, prompt: dict[str, Any], timeout_s: float) -> FinishedRun:
        """Run a workflow to its end.

        Raises: ValueError where the server refuses it, where a node fails, where it takes too long,
        and where the server forgot it.
        """
        answer = self._json("POST", "/prompt", json={"prompt": prompt})
        if answer.get("node_errors"):
            self._json("POST", "/queue", json={"delete": [answer["prompt_id"]]})
            raise ValueError(_refusal(answer))
        deadline, prompt_id = time.monotonic() + timeout_s, answer["prompt_id"]
        while time.monotonic() < deadline:
            # In this order: a run that ends between the two is in the history.
            is_waiting = self._is_waiting(prompt_id)
            entry = self._json("GET", f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                _require_success(entry)
                return FinishedRun(_videos_of(entry), _seconds_of(entry))
            if not is_waiting:
                raise ValueError(
                    f"server got {self.url}, which does not know the workflow any more; it was "
                    "started again: run the command again"
                )
            time.sleep(_POLL_S)
        self._json("POST", "/queue", json={"delete": [prompt_id]})
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

    def _is_waiting(self, prompt_id: str) -> bool:
        queue = self._json("GET", "/queue")
        items = (*queue["queue_running"], *queue["queue_pending"])
        return any(item[1] == prompt_id for item in items)

    def _json(self, method: str, path: str, **request: Any) -> Any:
        data = self._answer(method, path, **request)
        try:
            return json.loads(data) if data else {}
        except ValueError as error:
            raise ValueError(
                f"server got {self.url}, whose {path} answers no JSON, wanted ComfyUI; correct the "
                "suite"
            ) from error

    def _answer(self, method: str, path: str, **request: Any) -> bytes:
        # A server that loads a model may be silent for a while.
        for attempt in range(_TRIES if method == "GET" else 1):
            try:
                answer = self._http.request(method, path, **request)
                break
            except self._errors as error:
                if attempt + 1 < _TRIES and method == "GET" and path != _FIRST_PATH:
                    continue
                raise ValueError(
                    f"server got {self.url}, which does not answer ({error}); start ComfyUI there, "
                    "or correct the suite"
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
    error = answer.get("error")
    message = error.get("message", "it said nothing") if isinstance(error, dict) else str(error)
    said = "; ".join(reasons) or message
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


def _seconds_of(entry: dict[str, Any]) -> float:
    """By the server's own clock, in milliseconds."""
    times = {kind: held.get("timestamp", 0) / 1000 for kind, held in entry["status"]["messages"]}
    return times.get("execution_success", 0.0) - times.get("execution_start", 0.0)


def _videos_of(entry: dict[str, Any]) -> tuple[SavedVideo, ...]:
    return tuple(
        SavedVideo(node, item["filename"], item.get("subfolder", ""), item["type"])
        for node, outputs in entry["outputs"].items()
        for items in outputs.values()
        if isinstance(items, list)
        for item in items
        # Previews are of type "temp".
        if isinstance(item, dict)
        and item.get("type") == "output"
        and Path(item.get("filename", "")).suffix.lower() in _VIDEO_SUFFIXES
    )
