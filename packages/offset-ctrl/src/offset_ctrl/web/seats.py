"""
The seats of pages that wait for a payment. Pure.

A page that waits holds a request open, so there are only so many seats. They are shared by invoice: whoever has the
addresses of a few pages can not keep the buyers of all others waiting.

1. One invoice has `OF_ONE_INVOICE_MAX` seats at most, and where clients connect directly one address has
   `OF_ONE_PEER_MAX`. Whoever wants more is refused.
2. When all seats are taken, somebody whose invoice has fewer than another one's gets a seat of the invoice that has
   most: the one that was taken first. Whoever loses a seat, or gets none, asks again later.

So a page of an invoice of which nobody else waits loses its seat only when more invoices wait than there are seats.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Seat", "Seats"]

SEATS_MAX: Final = 64
OF_ONE_INVOICE_MAX: Final = 4
OF_ONE_PEER_MAX: Final = 8


@dataclass(eq=False, slots=True)
class Seat:
    """
    Of a page that waits.

    Attributes:
        invoice: Names the invoice.
        peer: The address of the client; None: it says nothing about who that is.
        lose: Called when somebody else gets the seat.
    """

    invoice: str
    peer: str | None
    lose: Callable[[], object]


class Seats:
    """The seats that are taken, in the order in which that happened."""

    def __init__(self) -> None:
        self._taken: list[Seat] = []

    def take(self, seat: Seat) -> bool:
        """Take a seat, where need be that of somebody else; False: there is none."""
        taken = Counter(each.invoice for each in self._taken)
        own = taken[seat.invoice]
        of_peer = sum(seat.peer is not None and each.peer == seat.peer for each in self._taken)
        if own >= OF_ONE_INVOICE_MAX or of_peer >= OF_ONE_PEER_MAX:
            return False
        if len(self._taken) >= SEATS_MAX:
            most = max(taken.values())
            if own >= most:
                return False
            loser = next(each for each in self._taken if taken[each.invoice] == most)
            self.leave(loser)
            loser.lose()
        self._taken.append(seat)
        return True

    def leave(self, seat: Seat) -> None:
        """Nobody waits there any more; nothing happens where it was lost before."""
        if seat in self._taken:
            self._taken.remove(seat)
