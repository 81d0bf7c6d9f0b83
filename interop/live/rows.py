"""
One row of the matrix: the network of a casting, made anew where a step has left it broken.

A step that fails may have spoiled the network, or not. Before the next step a short check tells; where it fails, the
next step gets a network of its own. What stands on a step that failed is not tried, and says so by its name. A step
that failed and then passed has not failed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

__all__ = ["Row", "Stoppable"]


class Stoppable(Protocol):
    """A network, as far as this module knows it."""

    def stop(self) -> object:
        """End all its processes."""


N = TypeVar("N", bound=Stoppable)


@dataclass
class Row(Generic[N]):
    """
    The networks of a casting.

    Attributes:
        make: Makes a network that works; may raise anything.
        is_whole: Whether a network still works after a step has failed in it.
        made: How many networks were needed.
        last: The newest of them, which may have ended.
    """

    make: Callable[[], N]
    is_whole: Callable[[N], bool]
    made: int = 0
    last: N | None = None
    _network: N | None = None
    _is_suspect: bool = False
    _failed: dict[str, None] = field(default_factory=dict)

    def obstacle(self, stands_on: Iterable[str]) -> str | None:
        """The first step that failed among those that another one stands on."""
        return next((step for step in self._failed if step in stands_on), None)

    def network(self) -> N:
        """A network that works: the one that is there, or a new one. Raises what its making raises."""
        if self._network is not None and self._is_suspect and not self.is_whole(self._network):
            self.close()
        if self._network is None:
            self._network = self.last = self.make()
            self.made += 1
        self._is_suspect = False
        return self._network

    def note_failure(self, step: str) -> None:
        """A step has failed, as expected or not: the network may be spoiled."""
        self._failed[step] = None
        self._is_suspect = True

    def note_success(self, step: str) -> None:
        """A step has passed, perhaps after it had failed."""
        self._failed.pop(step, None)

    def close(self) -> None:
        """End the network, if there is one."""
        network, self._network = self._network, None
        if network is not None:
            network.stop()
