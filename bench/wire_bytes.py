"""Bytes on the wire: a forwarder before each server counts what passes, without reading it."""

from collections import Counter

from interop.forwarder import Forwarder

__all__ = ["ByteCounter"]


class ByteCounter(Forwarder):
    """
    Stands before the servers of a `Network`.

    Attributes:
        passed: Bytes in both directions, by kind of link: "relay", "app", "index-client", "index-server".
    """

    def __init__(self) -> None:
        super().__init__()
        self.passed: Counter[str] = Counter()

    @property
    def links(self) -> Counter[str]:
        """The number of open connections, by the same kinds."""
        return Counter(kind for kind, _, _ in list(self.open_links.values()))

    def note_passed(self, kind: str, count: int) -> None:
        """Add what passed."""
        self.passed[kind] += count
