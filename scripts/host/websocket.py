"""As much of a websocket client (RFC 6455) as following a host takes: text messages in, nothing but pongs out."""

import base64
import http.client
import os

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class WebSocket:
    def __init__(self, host: str, port: int, path: str):
        self._connection = http.client.HTTPConnection(host, port, timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        headers = upgrade | {"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
        self._connection.request("GET", path, headers=headers)
        self._socket = self._connection.sock
        self._buffer = bytearray()
        self._read_handshake()

    def receive(self, timeout: float) -> str | None:
        """The next text message, or None when none came in time. Raises ConnectionError when the host hung up."""
        self._socket.settimeout(timeout)
        try:
            while True:
                opcode, payload = self._frame()
                if opcode == TEXT:
                    return payload.decode("utf-8")
                if opcode == CLOSE:
                    raise ConnectionError("The host closed the websocket.")
                if opcode == PING:
                    self._pong(payload)
        except TimeoutError:
            return None

    def close(self) -> None:
        self._connection.close()

    def _read_handshake(self) -> None:
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode("latin-1")
        if " 101 " not in status:
            raise ConnectionError(f"The host refused a websocket: {status}")
        self._buffer = bytearray(rest)

    def _frame(self) -> tuple[int, bytes]:
        start, length = 2, self._peek(2)[1] & 0x7F
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(self._peek(start)[2:], "big")
        payload = self._peek(start + length)[start:]
        opcode = self._buffer[0] & 0x0F
        del self._buffer[: start + length]
        return opcode, payload

    def _peek(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        return bytes(self._buffer[:count])

    def _fill(self) -> None:
        received = self._socket.recv(1 << 16)
        if not received:
            raise ConnectionError("The host closed the websocket.")
        self._buffer += received

    def _pong(self, payload: bytes) -> None:
        no_mask = bytes(4)
        self._socket.sendall(bytes([0x80 | PONG, 0x80 | len(payload)]) + no_mask + payload)
