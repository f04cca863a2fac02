"""ClickHouse's `Native` format: blocks of columns, as the server holds them. Of all forms of an
answer it is made most quickly; it is read here when nobody measures."""

from __future__ import annotations

import struct

# Size and struct code of numbers; whole numbers in a column of time are seconds.
FIXED = {
    "Int8": "b",
    "Int16": "h",
    "Int32": "i",
    "Int64": "q",
    "UInt8": "B",
    "UInt16": "H",
    "UInt32": "I",
    "UInt64": "Q",
    "Float32": "f",
    "Float64": "d",
    "Bool": "?",
    "DateTime": "I",
}
# Of the flags of a block's dictionary: the type of its indexes, and that it has keys of its own.
INDEX_TYPES = ["UInt8", "UInt16", "UInt32", "UInt64"]
OWN_KEYS = 0x200


class NativeError(RuntimeError):
    """The bytes are not what they should be."""


class _Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise NativeError("the answer ends inside a block")
        self.at += count
        return piece

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str:
        return self.take(self.varint()).decode()

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def column(self, kind: str, rows: int) -> list:
        """The values of one column of a block."""
        if rows == 0:
            return []
        inner = kind[kind.find("(") + 1 : -1]
        if kind.startswith("LowCardinality("):
            return self._dictionary(inner, rows)
        if kind.startswith("Nullable("):
            absent = self.take(rows)
            values = self.column(inner, rows)
            return [None if gone else value for gone, value in zip(absent, values)]
        if kind == "String":
            return [self.text() for _ in range(rows)]
        code = FIXED.get(kind.partition("(")[0])
        if code is None:
            raise NativeError(f"columns of type {kind} are not read here")
        return list(struct.unpack(f"<{rows}{code}", self.take(rows * struct.calcsize(code))))

    def _dictionary(self, inner: str, rows: int) -> list:
        version, flags = self.u64(), self.u64()
        if version != 1 or not flags & OWN_KEYS or flags & 0xFF > 3:
            raise NativeError(f"a dictionary of version {version}, flags {flags:#x}")
        # The first key of a nullable dictionary stands for NULL.
        nullable = inner.startswith("Nullable(")
        keys = self.column(inner[9:-1] if nullable else inner, self.u64())
        if nullable and keys:
            keys[0] = None
        if self.u64() != rows:
            raise NativeError("a dictionary's rows are not those of its block")
        indexes = self.column(INDEX_TYPES[flags & 0xFF], rows)
        if max(indexes) >= len(keys):
            raise NativeError("an index points outside of its dictionary")
        return [keys[index] for index in indexes]


def decode(data: bytes) -> tuple[list[str], list[tuple]]:
    """Column names and rows."""
    reader = _Reader(data)
    names: list[str] = []
    rows: list[tuple] = []
    while reader.at < len(data):
        width, height = reader.varint(), reader.varint()
        names, columns = [], []
        for _ in range(width):
            names.append(reader.text())
            columns.append(reader.column(reader.text(), height))
        rows += zip(*columns)
    return names, rows
