"""Who may wait for a payment, and who makes room."""

import pytest

from offset_ctrl.web import seats
from offset_ctrl.web.seats import Seat, Seats


class _Hall:
    """Seats, and who has lost one."""

    def __init__(self):
        self.seats = Seats()
        self.lost = []

    def take(self, invoice, peer=None):
        seat = Seat(invoice, peer, lambda: self.lost.append(invoice))
        return seat if self.seats.take(seat) else None


@pytest.fixture
def hall(monkeypatch):
    """Of six seats."""
    monkeypatch.setattr(seats, "SEATS_MAX", 6)
    monkeypatch.setattr(seats, "OF_ONE_INVOICE_MAX", 3)
    monkeypatch.setattr(seats, "OF_ONE_PEER_MAX", 4)
    return _Hall()


def test_a_few_pages_do_not_take_all_seats(hall):
    """The invoice with most of them makes room, first the seat that was taken first; nobody else does."""
    for invoice in "aaabbb":
        assert hall.take(invoice)
    assert hall.take("c")
    assert hall.lost == ["a"]
    assert hall.take("d")
    assert hall.lost == ["a", "b"]
    assert not hall.take("a")
    assert hall.take("c")
    assert not hall.take("c")
    assert hall.lost == ["a", "b", "a"]


def test_more_invoices_than_seats(hall):
    """Each has one: then whoever has waited longest asks again later."""
    for invoice in "abcdef":
        assert hall.take(invoice)
    assert hall.take("g")
    assert not hall.take("g")
    assert hall.lost == ["a"]


def test_one_address_has_so_many_seats(hall):
    """Where addresses say nothing, they do not count."""
    places = [hall.take(invoice, "192.0.2.1") for invoice in "abcde"]
    assert [place is not None for place in places] == [True] * 4 + [False]
    hall.seats.leave(places[0])
    hall.seats.leave(places[0])
    assert hall.take("e", "192.0.2.1")
    hall = _Hall()
    assert all(hall.take(invoice) for invoice in "abcdef")
