"""The pack's routes on a real server, called as ComfyUI's page calls them."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    """The answer of the server."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def content(self) -> Any:
        return json.loads(self.body)


class OwnRoutes(NamedTuple):
    """The routes of one server. root: the folder of its sessions."""

    url: str
    root: Path

    def get(self, path: str, **headers: str) -> Answer:
        return self._answer(path, None, headers)

    def post(self, path: str, content: object, **headers: str) -> Answer:
        """`headers` replace those of a request in JSON; "_" stands for "-"."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self._answer(path, body, {**JSON, **headers})

    def _answer(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.url}/memory_v2v/{path}", body, named)
        try:
            with urllib.request.urlopen(request, timeout=60) as given:
                return Answer(given.status, given.read(), dict(given.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), dict(error.headers))
