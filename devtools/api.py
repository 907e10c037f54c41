"""ComfyUI's HTTP API as Python calls: queue a prompt, follow it, fetch its results."""

import json
import mimetypes
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .websocket import EventStream

POLL_S = 0.1
ENDINGS = ("execution_success", "execution_error", "execution_interrupted")


class ApiError(Exception):
    """The server did not answer, or answered with an error."""


class HttpError(ApiError):
    """The server answered with an error code; `body` is its answer."""

    def __init__(self, path: str, status: int, body: bytes) -> None:
        super().__init__(f"{path} answered {status}: {body[:400].decode(errors='replace')}")
        self.status, self.body = status, body


class PromptRejected(ApiError):
    """The prompt failed the server's validation.

    node_errors: the server's report by node id.
    """

    def __init__(self, message: str, node_errors: dict) -> None:
        super().__init__(message)
        self.node_errors = node_errors


class PromptFailed(ApiError):
    """A node raised while the prompt ran: node, exception type and message."""

    def __init__(
        self, node_id: str, node_type: str, exception_type: str, exception_message: str
    ) -> None:
        super().__init__(
            f"node {node_id} ({node_type}) raised {exception_type}: {exception_message}".strip()
        )
        self.node_id, self.node_type = node_id, node_type
        self.exception_type, self.exception_message = exception_type, exception_message


class PromptInterrupted(ApiError):
    """The prompt was interrupted while it ran."""


@dataclass(frozen=True)
class Progress:
    """The state of a running prompt.

    It names the running node, the step within this node, and how many nodes are done.
    """

    node_id: str
    node_type: str
    step: int
    num_steps: int
    num_done: int
    num_nodes: int


@dataclass(frozen=True)
class OutputFile:
    """A file that a node reported.

    node_id, kind: the node, and the kind of output ("images", ...).
    """

    node_id: str
    kind: str
    filename: str
    subfolder: str
    folder_type: str


class ComfyApi:
    """One client of one server.

    is_alive: says whether it is worth waiting for a server that does not answer.
    """

    def __init__(self, url: str, is_alive: Callable[[], bool] = lambda: True) -> None:
        self.url = url.rstrip("/")
        self.client_id = uuid.uuid4().hex
        self._is_alive = is_alive
        self._object_info: dict | None = None

    def get(self, path: str, *, timeout_s: float = 60.0, retries: int = 3) -> Any:
        """The JSON answer of a GET. An overloaded server is asked again `retries` times."""
        return json.loads(self._request(path, timeout_s=timeout_s, retries=retries) or b"null")

    def post(self, path: str, payload: dict, *, timeout_s: float = 60.0) -> Any:
        """The JSON answer of a POST with a JSON body; it is never repeated."""
        body = json.dumps(payload).encode()
        return json.loads(
            self._request(path, body, "application/json", timeout_s=timeout_s) or b"null"
        )

    def object_info(self) -> dict:
        """Schemas of all nodes by id; the server is asked once."""
        if self._object_info is None:
            self._object_info = self.get("/object_info")
        return self._object_info

    def queue(self, prompt: dict, workflow_id: str | None = None) -> str:
        """The id of the prompt in the server's queue.

        workflow_id: as the page names the workflow that a prompt comes from; None for no workflow.

        Raises: PromptRejected with all reasons by node, even where the server would run the other
        nodes.
        """
        try:
            request = {"prompt": prompt, "client_id": self.client_id}
            if workflow_id is not None:
                request["extra_data"] = {"extra_pnginfo": {"workflow": {"id": workflow_id}}}
            answer = self.post("/prompt", request)
        except HttpError as error:
            if error.status != 400:
                raise
            raise _rejection(json.loads(error.body)) from None
        # The server accepts a prompt of which only a part is valid, and would run that part.
        if answer["node_errors"]:
            self.cancel(answer["prompt_id"])
            raise _rejection(answer)
        return answer["prompt_id"]

    def cancel(self, prompt_id: str) -> None:
        """Takes a prompt out of the queue, or interrupts it where it already runs."""
        self.post("/queue", {"delete": [prompt_id]})
        self.interrupt(prompt_id)

    def run(
        self,
        prompt: dict,
        on_progress: Callable[[Progress], None] | None = None,
        timeout_s: float = 3600.0,
        workflow_id: str | None = None,
    ) -> dict:
        """The history entry ("outputs", "status", ...) of the prompt after it ran.

        Raises: PromptRejected, PromptFailed, PromptInterrupted, or ApiError after `timeout_s`.
        """
        stream = EventStream(self.url, self.client_id) if on_progress else None
        try:
            pauses = _progress_events(stream, prompt, on_progress)
            entry = self.wait(self.queue(prompt, workflow_id), timeout_s, pauses)
            # A short prompt may end before its events were read.
            if pauses is not None:
                next(pauses)
            return entry
        finally:
            if stream:
                stream.close()

    def wait(
        self, prompt_id: str, timeout_s: float = 3600.0, pauses: Iterator[None] | None = None
    ) -> dict:
        """The history entry of a queued prompt after it ended.

        pauses: advanced between two looks at the history.
        """
        pauses = pauses or _sleeps()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                return _checked(entry)
            next(pauses)
        raise ApiError(
            f"prompt {prompt_id} did not end within {timeout_s:.0f} s; interrupt it or allow more "
            "time"
        )

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Stops the running prompt; with an id, only where that prompt is running."""
        self.post("/interrupt", {"prompt_id": prompt_id} if prompt_id else {})

    def is_running(self, prompt_id: str) -> bool:
        """Whether this prompt is running now."""
        return any(item[1] == prompt_id for item in self.get("/queue")["queue_running"])

    def upload(self, path: Path, subfolder: str = "") -> str:
        """The name of the uploaded file for LoadImage and LoadVideo, with its subfolder."""
        # A multipart form by hand: the standard library has no encoder for it.
        boundary = uuid.uuid4().hex
        mime = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        fields = {"type": "input", "subfolder": subfolder, "overwrite": "true"}
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'
            for k, v in fields.items()
        ]
        disposition = f'Content-Disposition: form-data; name="image"; filename="{path.name}"'
        parts.append(f"--{boundary}\r\n{disposition}\r\nContent-Type: {mime}\r\n\r\n")
        body = "".join(parts).encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        content_type = f"multipart/form-data; boundary={boundary}"
        answer = json.loads(self._request("/upload/image", body, content_type, timeout_s=300.0))
        return f"{answer['subfolder']}/{answer['name']}" if answer["subfolder"] else answer["name"]

    def download(self, output: OutputFile, destination: Path) -> Path:
        """`destination`, after the output file was written there."""
        query = {
            "filename": output.filename,
            "subfolder": output.subfolder,
            "type": output.folder_type,
        }
        data = self._request("/view?" + urllib.parse.urlencode(query), timeout_s=300.0, retries=3)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(data)
        return destination

    def _request(
        self,
        path: str,
        body: bytes | None = None,
        content_type: str = "",
        *,
        timeout_s: float,
        retries: int = 0,
    ) -> bytes:
        headers = {"Content-Type": content_type} if body is not None else {}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)
        for attempt in range(retries + 1):
            try:
                with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                    return answer.read()
            except urllib.error.HTTPError as error:
                raise HttpError(path, error.code, error.read()) from None
            except OSError as error:
                # A dead process never answers, so retries would only hide the reason.
                if not self._is_alive():
                    raise ApiError(
                        f"{self.url} has stopped: its process is gone ({error})"
                    ) from None
                if attempt == retries:
                    raise ApiError(f"{self.url}{path} does not answer: {error}") from None
                time.sleep(POLL_S)
        raise AssertionError("the loop returns or raises")


def output_files(entry: dict) -> tuple[OutputFile, ...]:
    """All files in a history entry's outputs, by node, in the node's order."""
    return tuple(
        OutputFile(
            node_id, kind, item["filename"], item.get("subfolder", ""), item.get("type", "output")
        )
        for node_id, result in entry["outputs"].items()
        for kind, items in result.items()
        if isinstance(items, list)
        for item in items
        if isinstance(item, dict) and "filename" in item
    )


def _sleeps() -> Iterator[None]:
    while True:
        time.sleep(POLL_S)
        yield


def _progress_events(
    stream: EventStream | None, prompt: dict, on_progress: Callable[[Progress], None] | None
) -> Iterator[None] | None:
    """Pauses of POLL_S that pass the events of the stream to `on_progress`."""
    if stream is None or on_progress is None:
        return None
    return _follow(stream, prompt, on_progress)


def _follow(
    stream: EventStream, prompt: dict, on_progress: Callable[[Progress], None]
) -> Iterator[None]:
    cached: set[str] = set()
    last_yield_s = time.monotonic()
    while True:
        try:
            event = stream.next_event(POLL_S) or {"type": "", "data": {}}
        except ConnectionError:
            # Polling continues: the next look finds how the prompt ended, or that the server died.
            yield from _sleeps()
        if event["type"] == "execution_cached":
            cached.update(event["data"]["nodes"])
        elif event["type"] == "progress_state":
            for progress in _running(event["data"], prompt, cached):
                on_progress(progress)
        if event["type"] in ENDINGS or time.monotonic() - last_yield_s > POLL_S:
            yield
            last_yield_s = time.monotonic()


def _running(data: dict, prompt: dict, cached: set[str]) -> Iterator[Progress]:
    states = list(data["nodes"].values())
    done = {state["display_node_id"] for state in states if state["state"] == "finished"} | cached
    for state in states:
        if state["state"] == "running":
            node_id = state["display_node_id"]
            node_type = prompt.get(node_id, {}).get("class_type", "")
            yield Progress(
                node_id, node_type, int(state["value"]), int(state["max"]), len(done), len(prompt)
            )


def _checked(entry: dict) -> dict:
    for event, data in entry["status"]["messages"]:
        if event == "execution_interrupted":
            raise PromptInterrupted(f"interrupted in node {data['node_id']} ({data['node_type']})")
        if event == "execution_error":
            details = (
                data[key] for key in ("node_id", "node_type", "exception_type", "exception_message")
            )
            raise PromptFailed(*map(str, details))
    return entry


def _rejection(answer: dict) -> PromptRejected:
    node_errors = answer.get("node_errors") or {}
    lines = [
        f"{answer.get('error', {}).get('message', 'prompt rejected')}: "
        f"{answer.get('error', {}).get('details', '')}"
    ]
    for node_id, report in node_errors.items():
        for error in report["errors"]:
            lines.append(
                f"node {node_id} ({report['class_type']}): {error['message']}: {error['details']}"
            )
    return PromptRejected("\n".join(lines), node_errors)
