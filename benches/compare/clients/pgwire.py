"""A client of the Postgres wire that costs next to nothing while the clock runs.

A query is sent in one flight (Parse, Bind with binary results, Describe, Execute, Sync) under the
unnamed statement, so that nothing is prepared beforehand. Its answer is read whole into memory and
decoded later, when nobody measures.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import struct
import tempfile

# ReadyForQuery outside of a transaction block: how every answer here ends. Bytes that look like it
# at the end of a read, but are not, are found by `decode`, which then says that a message is cut.
READY = b"Z\0\0\0\x05I"
PG_EPOCH_NS = 946_684_800_000_000_000
READ_BYTES = 1 << 20


class WireError(RuntimeError):
    """The server refused, or said something that is not the protocol."""


class Connection:
    """One connection, authenticated; not for several threads."""

    def __init__(self, host: str, port: int, user: str, password: str, database: str):
        self.socket = _connect(host, port)
        self.user, self.password = user, password
        self.buffer = bytearray(READ_BYTES)
        self.parameters: dict[str, str] = {}
        texts = ("user", user, "database", database, "application_name", "compare")
        body = struct.pack("!I", 196_608) + b"".join(t.encode() + b"\0" for t in texts) + b"\0"
        self.socket.sendall(struct.pack("!I", len(body) + 4) + body)
        self._log_in()

    def close(self) -> None:
        """Says goodbye."""
        self.socket.sendall(b"X\0\0\0\x04")
        self.socket.close()

    def fetch(self, sql: str) -> memoryview:
        """Asks, and reads the whole answer as the server sent it. It lies in the connection's own
        memory, until the next question."""
        text = sql.encode()
        bind = b"\0\0" + struct.pack("!HHHH", 0, 0, 1, 1)
        self.socket.sendall(
            _message(b"P", b"\0" + text + b"\0\0\0")
            + _message(b"B", bind)
            + _message(b"D", b"P\0")
            + _message(b"E", b"\0" + struct.pack("!I", 0))
            + _message(b"S", b"")
        )
        return self._read_answer()

    def execute(self, sql: str) -> list[tuple]:
        """Runs one statement and decodes its rows."""
        return decode(self.fetch(sql))[1]

    def copy_in(self, sql: str, path: str) -> None:
        """Sends a file as the data of a COPY … FROM STDIN."""
        self.socket.sendall(_message(b"Q", sql.encode() + b"\0"))
        kind, body = self._read_message()
        if kind != b"G":
            raise WireError(f"COPY was not taken: {_error_text(body)}")
        with open(path, "rb") as file:
            while chunk := file.read(READ_BYTES):
                self.socket.sendall(_message(b"d", chunk))
        self.socket.sendall(_message(b"c", b""))
        decode(self._read_answer())

    def _read_answer(self) -> memoryview:
        end = 0
        while bytes(self.buffer[max(0, end - len(READY)) : end]) != READY:
            if end == len(self.buffer):
                # The old memory may still be the answer to the question before.
                self.buffer = self.buffer + bytes(len(self.buffer))
            count = self.socket.recv_into(memoryview(self.buffer)[end:])
            if count == 0:
                raise WireError("the server closed the connection")
            end += count
        return memoryview(self.buffer)[:end]

    def _read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise WireError("the server closed the connection")
            data += piece
        return data

    def _read_message(self) -> tuple[bytes, bytes]:
        header = self._read_exactly(5)
        return header[:1], self._read_exactly(struct.unpack("!I", header[1:])[0] - 4)

    def _log_in(self) -> None:
        scram = None
        while True:
            kind, body = self._read_message()
            if kind == b"E":
                raise WireError(_error_text(body))
            if kind == b"S":
                name, value = body.rstrip(b"\0").split(b"\0", 1)
                self.parameters[name.decode()] = value.decode()
            if kind == b"Z":
                return
            if kind != b"R":
                continue
            code, rest = struct.unpack("!I", body[:4])[0], body[4:]
            if code == 10:
                scram = _Scram(self.password)
                first = scram.first()
                sized = struct.pack("!I", len(first)) + first
                self.socket.sendall(_message(b"p", b"SCRAM-SHA-256\0" + sized))
            elif code == 11 and scram:
                self.socket.sendall(_message(b"p", scram.final(rest)))
            elif code == 12 and scram:
                scram.check(rest)
            elif code != 0:
                raise WireError(f"log-in of kind {code} is not spoken here")


def folder_of_sockets() -> str:
    """A new folder for a server's sockets, whose path may have some hundred bytes at most. Servers
    that run as another user must be able to use it."""
    folder = tempfile.mkdtemp(prefix="compare-", dir="/tmp")
    os.chmod(folder, 0o777)
    return folder


def _connect(host: str, port: int) -> socket.socket:
    """A host that is a folder has a socket for the port, as for libpq."""
    if host.startswith("/"):
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.settimeout(3600)
        local.connect(f"{host}/.s.PGSQL.{port}")
        return local
    remote = socket.create_connection((host, port), timeout=3600)
    remote.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return remote


class _Scram:
    """SCRAM-SHA-256 without channel binding (RFC 7677)."""

    def __init__(self, password: str):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n=,r={self.nonce}"
        self.signature = b""

    def first(self) -> bytes:
        return f"n,,{self.bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        text = server_first.decode()
        fields = dict(part.split("=", 1) for part in text.split(","))
        if not fields["r"].startswith(self.nonce):
            raise WireError("the server answered with a nonce of another log-in")
        salt, count = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password, salt, count)
        key = _hmac(salted, b"Client Key")
        without_proof = f"c=biws,r={fields['r']}"
        signed = f"{self.bare},{text},{without_proof}".encode()
        mask = _hmac(hashlib.sha256(key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(key, mask))
        self.signature = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final: bytes) -> None:
        if server_final != b"v=" + base64.b64encode(self.signature):
            raise WireError("the server does not know the password's verifier")


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _error_text(body: bytes) -> str:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    words = [fields.get(b"C", ""), fields.get(b"M", ""), fields.get(b"D", ""), fields.get(b"H", "")]
    return " · ".join(word for word in words if word)


def count(answer: memoryview | bytes) -> int | None:
    """Rows of a SELECT's answer, as its last message but one tells."""
    answer = bytes(answer[-64:])
    at = answer.rfind(b"SELECT ")
    end = answer.find(b"\0", at)
    return int(answer[at + 7 : end]) if at >= 0 else None


def decode(answer: memoryview | bytes) -> tuple[list[str], list[tuple]]:
    """Column names and rows of an answer; raises `WireError` with the server's words.

    Times become ns since 1970, numbers int or float, NULL None.
    """
    answer = bytes(answer)
    at, end = 0, len(answer)
    names: list[str] = []
    decoders: list = []
    rows: list[tuple] = []
    told = None
    while at < end:
        if at + 5 > end:
            raise WireError("the answer ends inside a message")
        kind, length = answer[at : at + 1], int.from_bytes(answer[at + 1 : at + 5], "big")
        start, at = at + 5, at + 1 + length
        if at > end:
            raise WireError("the answer ends inside a message")
        if kind == b"D":
            rows.append(_row(answer, start, decoders))
        elif kind == b"T":
            names, decoders = _columns(answer[start:at])
        elif kind == b"E":
            raise WireError(_error_text(answer[start:at]))
        elif kind == b"C":
            told = answer[start : at - 1].decode()
    if told is None:
        raise WireError("the answer has no CommandComplete")
    return names, rows


def _columns(body: bytes) -> tuple[list[str], list]:
    names, decoders, at = [], [], 2
    for _ in range(struct.unpack("!H", body[:2])[0]):
        stop = body.index(b"\0", at)
        oid = struct.unpack("!I", body[stop + 7 : stop + 11])[0]
        names.append(body[at:stop].decode())
        if oid not in DECODERS:
            raise WireError(f"column {names[-1]} has type {oid}, which is not read here")
        decoders.append(DECODERS[oid])
        at = stop + 19
    return names, decoders


def _row(answer: bytes, at: int, decoders: list) -> tuple:
    at += 2
    cells = []
    for decoder in decoders:
        length = int.from_bytes(answer[at : at + 4], "big", signed=True)
        at += 4
        if length < 0:
            cells.append(None)
        else:
            cells.append(decoder(answer[at : at + length]))
            at += length
    return tuple(cells)


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _numeric(data: bytes) -> float:
    count, weight, sign, _scale = struct.unpack("!HhHH", data[:8])
    if sign == 0xC000:
        return float("nan")
    digits = struct.unpack(f"!{count}H", data[8:])
    whole = 0
    for digit in digits:
        whole = whole * 10_000 + digit
    power = weight - count + 1
    value = whole * 10_000**power if power >= 0 else whole / 10_000**-power
    return float(-value if sign == 0x4000 else value)


# By type number.
DECODERS = {
    16: lambda data: data != b"\0",
    20: _integer,
    21: _integer,
    23: _integer,
    26: _integer,
    19: bytes.decode,
    25: bytes.decode,
    700: lambda data: struct.unpack("!f", data)[0],
    701: lambda data: struct.unpack("!d", data)[0],
    1043: bytes.decode,
    1114: lambda data: _integer(data) * 1000 + PG_EPOCH_NS,
    1184: lambda data: _integer(data) * 1000 + PG_EPOCH_NS,
    1700: _numeric,
}
