"""A real ComfyUI server with this pack as its only custom node pack, started and stopped here."""

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .api import ApiError, ComfyApi
from .environment import ROOT, Environment
from .folder_link import link_folder, unlink_folder

PACK_FOLDER = "comfyui-memory-v2v"
LOG_TAIL_LINES = 40


class ServerError(Exception):
    """The server did not start, or died. The text ends with the last lines of its log."""


@dataclass(frozen=True)
class ComfyServer:
    """A running server.

    base_dir: its folder, with input/, output/, temp/ and models/.
    """

    url: str
    base_dir: Path
    log_path: Path
    process: subprocess.Popen
    api: ComfyApi

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        if not self.log_path.is_file():
            return ""
        text = re.sub(
            r"\x1b\[[0-9;]*m", "", self.log_path.read_text(encoding="utf-8", errors="replace")
        )
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


@contextlib.contextmanager
def running_server(
    environment: Environment,
    *,
    base_dir: Path | None = None,
    port: int | None = None,
    on_cpu: bool = True,
    extra_args: Sequence[str] = (),
    pack_dir: Path | None = ROOT,
    timeout_s: float = 300.0,
) -> Iterator[ComfyServer]:
    """A server that answers and knows the pack's nodes; it is stopped when the block ends.

    base_dir: its folder; None makes a temporary folder that is deleted at the end, so fetch outputs
    before.
    pack_dir: linked into its custom_nodes; None where the pack is already installed there.
    Raises: ServerError when the server exits, does not answer in `timeout_s`, or did not load the
    pack.
    """
    # Step 1: a folder of its own, so that a user's outputs and models stay untouched.
    folder = base_dir or Path(tempfile.mkdtemp(prefix="memory-v2v-"))
    link = folder / "custom_nodes" / PACK_FOLDER
    if pack_dir is not None:
        link_folder(link, pack_dir)
    for name in ("input", "output", "temp", "user", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # Step 2: the command. The log goes to a file, which tells why a start failed.
    port = port or _free_port()
    log_path = folder / "comfyui.log"
    command = [
        str(environment.python),
        "main.py",
        "--base-directory",
        str(folder),
        "--port",
        str(port),
    ]
    # A database in its own folder, so that no other server can lock it.
    command += [
        "--disable-auto-launch",
        "--database-url",
        f"sqlite:///{(folder / 'user' / 'comfyui.db').as_posix()}",
        *(["--cpu"] if on_cpu else []),
        *extra_args,
    ]
    # Step 3: run until the block ends, then clean up, whatever happened.
    try:
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=environment.comfyui,
                env={
                    **environment.variables(),
                    "PYTHONUNBUFFERED": "1",
                    "PYTHONIOENCODING": "utf-8",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                url = f"http://127.0.0.1:{port}"
                api = ComfyApi(url, is_alive=lambda: process.poll() is None)
                server = ComfyServer(url, folder, log_path, process, api)
                _wait_until_ready(server, timeout_s)
                yield server
            finally:
                stop_process(process)
    finally:
        if pack_dir is not None:
            unlink_folder(link)
        if base_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def pack_nodes(object_info: dict) -> tuple[str, ...]:
    """Ids of the nodes that this pack registered, sorted."""
    module = f"custom_nodes.{PACK_FOLDER}"
    return tuple(
        sorted(name for name, info in object_info.items() if info.get("python_module") == module)
    )


def _wait_until_ready(server: ComfyServer, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        # A server that died will never answer.
        if server.process.poll() is not None:
            raise ServerError(
                f"ComfyUI exited with code {server.process.returncode}; its log "
                f"ends:\n{server.log_tail()}"
            )
        try:
            server.api.get("/system_stats", timeout_s=5.0, retries=0)
            break
        except ApiError:
            if time.monotonic() > deadline:
                raise ServerError(
                    f"no answer within {timeout_s:.0f} s; the log ends:\n{server.log_tail()}"
                ) from None
            time.sleep(0.25)
    # ComfyUI loads custom nodes before it listens, so missing nodes will not appear later.
    if not pack_nodes(server.api.object_info()):
        raise ServerError(
            f"ComfyUI runs but did not load {PACK_FOLDER}; its log ends:\n{server.log_tail()}"
        )


def stop_process(process: subprocess.Popen, patience_s: float = 10.0) -> None:
    """Ends a child: first with a request, then by force."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        # Port 0 makes the system choose a free one.
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
