"""What a database must do to be compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from answers import Answer
from data import Data
from queries import Literals, Query


class Database(ABC):
    """A started database on an empty folder.

    `load`, then `settle`, then `disk_bytes`, then `ask` as often as wished, then `stop`.
    """

    def __init__(self, programs: dict, folder: Path):
        self.programs = programs
        self.folder = folder

    @abstractmethod
    def version(self) -> str:
        """Its version, for the table's foot."""

    @abstractmethod
    def prepare(self, data: Data) -> None:
        """Makes tables; not timed."""

    @abstractmethod
    def load(self, data: Data) -> None:
        """Takes all rows by the quickest common way; timed until they are safe and visible."""

    @abstractmethod
    def settle(self, data: Data) -> None:
        """Lets it compact as it would by itself in time; not part of the load."""

    @abstractmethod
    def disk_bytes(self, data: Data) -> int:
        """Bytes of rows and indexes on disk."""

    @abstractmethod
    def question(self, query: Query, drawn: Literals, data: Data) -> object | None:
        """The text of a question, or what shows as it; None if the database cannot be asked it."""

    @abstractmethod
    def ask(self, question) -> object:
        """Fetches the whole answer to this process, undecoded; timed."""

    @abstractmethod
    def decode(self, query: Query, drawn: Literals, answer: object) -> Answer:
        """The rows of an answer; not timed."""

    def count(self, answer: object) -> int | None:
        """Rows of an answer, if that is known without decoding it."""
        return None

    def peak_memory(self) -> int:
        """Most memory of the server, bytes; 0: not known, or part of this process."""
        return 0

    @abstractmethod
    def stop(self) -> None:
        """Ends it."""
