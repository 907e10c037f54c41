"""The server's event stream: a WebSocket client that only reads, to show progress."""

import base64
import json
import os
import socket
import struct
import time
import urllib.parse

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


class EventStream:
    """Events that ComfyUI sends to one client id. Binary frames (previews) are dropped."""

    def __init__(self, url: str, client_id: str, timeout_s: float = 10.0) -> None:
        address = urllib.parse.urlsplit(url)
        host, port = address.hostname or "127.0.0.1", address.port or 80
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /ws?clientId={client_id} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: "
            "websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
            f"{key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        # The handshake: an HTTP answer with status 101.
        deadline = time.monotonic() + timeout_s
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive(deadline):
                raise ConnectionError(f"{url} did not answer the WebSocket handshake")
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if b" 101 " not in head.splitlines()[0]:
            raise ConnectionError(
                f"{url} refused the WebSocket: {head.splitlines()[0].decode(errors='replace')}"
            )

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def next_event(self, timeout_s: float) -> dict | None:
        """The next event as {"type", "data"}, or None when none came in time.

        Raises: ConnectionError when the server closed the stream.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            frame = self._take_frame()
            if frame is None:
                if not self._receive(deadline):
                    return None
                continue
            opcode, payload = frame
            if opcode == _TEXT:
                return json.loads(payload)
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode == _CLOSE:
                raise ConnectionError("the server closed the event stream")

    def _receive(self, deadline: float) -> bool:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return False
        self._socket.settimeout(left_s)
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return False
        if not data:
            raise ConnectionError("the server closed the event stream")
        self._buffer += data
        return True

    def _take_frame(self) -> tuple[int, bytes] | None:
        """The first whole frame of the buffer, or None.

        ComfyUI's server neither masks nor splits its messages.
        """
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        # Lengths above 125 stand in 2 or 8 further bytes (RFC 6455).
        size, start = buffer[1] & 0x7F, 2
        if size == 126 and len(buffer) >= 4:
            size, start = struct.unpack_from("!H", buffer, 2)[0], 4
        elif size == 127 and len(buffer) >= 10:
            size, start = struct.unpack_from("!Q", buffer, 2)[0], 10
        elif size >= 126:
            return None
        if len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        return buffer[0] & 0x0F, buffer[start : start + size]

    def _send(self, opcode: int, payload: bytes) -> None:
        # A client must mask its frames.
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._socket.settimeout(10.0)
        self._socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)
