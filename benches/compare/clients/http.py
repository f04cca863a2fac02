"""A keep-alive HTTP/1.1 client: an answer is read whole, and decoded when nobody measures."""

from __future__ import annotations

import base64
import os
import queue
import socket
import threading

READ_BYTES = 1 << 20


class HttpError(RuntimeError):
    """The server refused, or its answer cannot be read."""


class Connection:
    """One connection to a server on this machine; not for several threads.

    It is opened by its first request: some servers close one that stays silent at first.
    """

    def __init__(self, port: int, user: str = "", password: str = ""):
        self.port = port
        self.socket: socket.socket | None = None
        self.buffer = bytearray(READ_BYTES)
        headers = f"Host: 127.0.0.1:{port}\r\n"
        if user:
            login = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers += f"Authorization: Basic {login}\r\n"
        self.headers = headers.encode()

    def close(self) -> None:
        """Closes the socket."""
        if self.socket:
            self.socket.close()

    def get(self, path: str) -> bytes:
        """The raw answer to a GET; `body` takes it apart."""
        door = self._open()
        door.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\n" + self.headers + b"\r\n")
        return self._read(door)

    def post(self, path: str, data: bytes) -> bytes:
        """The raw answer to a POST."""
        head = b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n"
        door = self._open()
        door.sendall(head % (path.encode(), self.headers, len(data)))
        door.sendall(data)
        return self._read(door)

    def _open(self) -> socket.socket:
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=3600)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.socket

    def _read(self, door: socket.socket) -> bytes:
        data = bytearray()
        view = memoryview(self.buffer)
        wanted = chunked = None
        while True:
            count = door.recv_into(self.buffer)
            if count == 0:
                raise HttpError("the server closed the connection")
            data += view[:count]
            if wanted is None and chunked is None:
                wanted, chunked = _extent(data)
            if wanted is not None and len(data) >= wanted:
                return bytes(data)
            # A body of JSON cannot hold these bytes; `body` would notice if one did.
            if chunked and data.endswith(b"\r\n0\r\n\r\n"):
                return bytes(data)


def _extent(data: bytearray) -> tuple[int | None, bool | None]:
    """Length of the whole answer, or whether it comes in chunks; both None: head not there yet."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None, None
    head = bytes(data[:end]).lower()
    if head[9:12] in (b"204", b"304"):
        return end + 4, None
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return end + 4 + int(value), None
        if name == b"transfer-encoding" and b"chunked" in value:
            return None, True
    raise HttpError("the answer has neither a length nor chunks")


def body(answer: bytes) -> bytes:
    """The body of a raw answer; raises `HttpError` unless its status is 2xx."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    status = head[9:12]
    if b"chunked" in head.lower():
        pieces = []
        while True:
            size_text, separator, after = rest.partition(b"\r\n")
            try:
                size = int(size_text.split(b";")[0], 16)
            except ValueError:
                raise HttpError(f"{size_text[:20]!r} is no size of a chunk") from None
            if not separator or len(after) < size:
                raise HttpError("the answer ends inside a chunk")
            if size == 0:
                break
            pieces.append(after[:size])
            rest = after[size + 2 :]
        rest = b"".join(pieces)
    if not status.startswith(b"2"):
        words = rest[:500].decode("utf-8", "replace").strip()
        raise HttpError(f"status {status.decode()}: {words}")
    return rest


def post_pieces(port: int, path: str, file: str, pieces: list, workers: int, **login) -> None:
    """Posts the pieces (offset, bytes, rows) of a file over several connections.

    A piece counts when the server has acknowledged it; the first refusal ends all.
    """
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for piece in pieces:
        waiting.put(piece)
    failures: list[Exception] = []

    def work() -> None:
        try:
            connection = Connection(port, **login)
            with open(file, "rb", buffering=0) as source:
                while not failures:
                    try:
                        offset, size, _rows = waiting.get_nowait()
                    except queue.Empty:
                        break
                    data = os.pread(source.fileno(), size, offset)
                    body(connection.post(path, data))
            connection.close()
        except (OSError, HttpError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
