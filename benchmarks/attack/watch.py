"""What a reader does beside reading: code it runs, what it writes, the memory it takes."""

import ctypes
import os
import resource
import sys
import sysconfig
from pathlib import Path
from typing import Any

# Never part of reading a file.
_FORBIDDEN = {
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"),
    *("os.spawn", "os.startfile", "pty.spawn", "socket.connect", "socket.bind", "socket.sendto"),
    *("socket.getaddrinfo", "ctypes.dlopen", "marshal.loads", "webbrowser.open"),
}
# Imported modules are unmarshalled by the frozen importer.
_OF_IMPORTS = ("marshal.loads", "ctypes.dlopen")
# The pack listens to sound in a process of its own, since FFmpeg may crash there.
_OWN_PROCESSES = ("sound_check.py",)
# Allowed inside the case's folder alone. The first argument is a path.
_CHANGES = {
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"),
    *("os.chmod", "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile"),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION = 0x20080522
# A mapped file of 8 GiB fits; a process that fills more is stopped by its parent.
_ROOM_BYTES = 12 << 30


class Watch:
    """Records what Python does between `arm` and `disarm`.

    sources: folders whose code may run, for modules that are imported late.
    """

    def __init__(self, sources: tuple[Path, ...]) -> None:
        paths = (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *map(str, sources))
        self._sources = tuple({os.path.realpath(path) for path in paths})
        self._folder = ""
        self._seen: list[str] = []
        sys.addaudithook(self._hear)

    def arm(self, folder: Path) -> None:
        self._seen = []
        self._folder = os.path.realpath(folder)

    def disarm(self) -> list[str]:
        """What was seen, in words."""
        self._folder = ""
        return self._seen

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._folder:
            return
        folder, self._folder = self._folder, ""
        try:
            if self._is_foreign(event, arguments, folder):
                self._seen.append(f"{event} {str(arguments)[:200]}")
        finally:
            self._folder = folder

    def _is_foreign(self, event: str, arguments: tuple[Any, ...], folder: str) -> bool:
        if event in _FORBIDDEN:
            is_own = event == "subprocess.Popen" and self._is_own(arguments[1])
            return not is_own and not (event in _OF_IMPORTS and _is_importing())
        if event == "exec":
            return not self._is_known(arguments[0].co_filename)
        if event == "compile":
            # How Cython builds the traceback of an error.
            if arguments[0] == b"_getframe()":
                return False
            return not self._is_known(str(arguments[1]))
        if event == "open":
            path, _, flags = arguments
            is_write = isinstance(flags, int) and bool(flags & _WRITING)
            return is_write and not isinstance(path, int) and not _is_inside(path, folder)
        return event in _CHANGES and not _is_inside(arguments[0], folder)

    def _is_own(self, command: Any) -> bool:
        """Whether the pack starts one of its own programs with this Python."""
        words = [str(word) for word in command] if isinstance(command, list | tuple) else [""]
        is_python = words[0] == sys.executable and len(words) > 1
        return is_python and words[1].endswith(_OWN_PROCESSES) and self._is_known(words[1])

    def _is_known(self, file: str) -> bool:
        # "<string>" would else count as a file of the working folder.
        is_library = Path(file).is_absolute() and os.path.realpath(file).startswith(self._sources)
        # Dataclasses and named tuples of a late import are made from text.
        return is_library or file.startswith("<frozen ") or _is_importing()


def _is_importing() -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _is_inside(path: Any, folder: str) -> bool:
    if isinstance(path, int):
        return True
    # The place of the name counts, not the place that a link at its end leads to.
    place = Path(os.fsdecode(path)).absolute()
    return str(Path(os.path.realpath(place.parent)) / place.name).startswith(folder + os.sep)


def obey_permissions() -> None:
    """Take from this process the right of root to read and write everything."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget failed")
    mask = ~((1 << _CAP_DAC_OVERRIDE) | (1 << _CAP_DAC_READ_SEARCH)) & 0xFFFFFFFF
    # Effective, permitted and inheritable sets of the first 32 capabilities.
    for idx in range(3):
        data[idx] &= mask
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


def limit_memory() -> None:
    """Let this process map at most 12 GiB more than now."""
    size = _status("VmSize") + _ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def resident_bytes() -> int:
    return _status("VmRSS")


def forget_peak() -> None:
    """Make the highest resident size count from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The highest resident size since `forget_peak`."""
    return _status("VmHWM")


def resident_bytes_of(pid: int) -> int:
    """Resident size of another process; 0 where it is gone."""
    try:
        return _status("VmRSS", pid)
    except (OSError, IndexError):
        return 0


def _status(name: str, pid: int | str = "self") -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) << 10
