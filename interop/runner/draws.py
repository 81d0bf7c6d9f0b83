"""Recorded randomness, handed out in the order in which it was drawn."""

__all__ = ["Draws"]


class Draws:
    """A source of randomness that repeats recorded values; drawing otherwise than recorded is an error."""

    def __init__(self, values: list[str]) -> None:
        self._values: list[bytes] = []
        self.refill(values)

    def refill(self, values: list[str]) -> None:
        """Start a step; all draws of the step before must have been used."""
        if self._values:
            raise ValueError(f"{len(self._values)} recorded values were not drawn")
        self._values = [bytes.fromhex(value) for value in values]

    def __call__(self, size: int) -> bytes:
        if not self._values and size == 0:
            return b""
        if not self._values:
            raise ValueError(f"{size} bytes more were drawn than recorded")
        value = self._values.pop(0)
        if len(value) != size:
            raise ValueError(f"{size} bytes were drawn where {len(value)} were recorded")
        return value

    @property
    def left(self) -> int:
        """Values that were not drawn."""
        return len(self._values)
