"""Payments and invoices as they are stored: keys, limits of the day, and what changes them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offset_crypto.identity import Identity
from offset_ctrl.connection.history import HistoryPlace
from offset_ctrl.rules.payment import PaymentState
from offset_ctrl.testing import build_commit
from offset_ctrl.web import invoice_book, payment_book
from offset_ctrl.web.database import open_database
from offset_ctrl.web.grants import parse_grants
from offset_ctrl.web.invoice_book import InvoiceBook, InvoiceState
from offset_ctrl.web.keys import KEPT_SECONDS, KeyReused, TooManyOpen, forget_old, hash_request
from offset_ctrl.web.payment_book import DailyLimitReached, PaymentBook
from offset_ctrl.web.tokens import Visitor
from offset_proto.files import Invoice
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey

SELLER = Identity(PrivateKey(b"\x03" * 32))
NOON = 86_400 * 20_000 + 43_200  # where `clock` begins
ENDS = (PaymentState.PAID, PaymentState.FAILED, PaymentState.UNKNOWN)
SHOP = Visitor("shop", parse_grants(["pay:100:FST/day"]))


def _invoice(amount: int, currency: str = "FST") -> Invoice:
    return Invoice(InvoiceId(bytes(32)), Currency(currency), SELLER.public_key, amount)


def _begin(book: PaymentBook, number: int, amount: int, fees_max: int = 0, visitor: Visitor = SHOP) -> str:
    payment_id = PaymentId(number.to_bytes(16, "big"))
    key = (f"key {number}", hash_request(b"%d" % number))
    row, is_new = book.begin(visitor, "node", key, _invoice(amount), fees_max, lambda: payment_id)
    assert is_new
    return row.payment_id


def test_a_key_makes_one_payment(database):
    """Another request under it is refused, and one of another token is another one."""
    book, calls = PaymentBook(database), []

    def begin(request: bytes, visitor: Visitor = SHOP) -> tuple[str, bool]:
        def start() -> PaymentId:
            calls.append(request)
            return PaymentId(len(calls).to_bytes(16, "big"))

        row, is_new = book.begin(visitor, "node", ("key", hash_request(request)), _invoice(10), 0, start)
        return row.payment_id, is_new

    first = begin(b"one")
    assert first[1]
    assert begin(b"one") == (first[0], False)
    with pytest.raises(KeyReused):
        begin(b"two")
    assert calls == [b"one"]
    other = begin(b"two", Visitor("other", SHOP.grants))
    assert other[1]
    assert other[0] != first[0]
    assert book.spent("shop", "FST", 20000) == 10


def test_the_limit_of_a_day(database, clock):
    """Amount and fees count, of each currency by itself, and what is refused leaves nothing behind."""
    book = PaymentBook(database)
    _begin(book, 1, 60, 10)
    with pytest.raises(DailyLimitReached, match=r"30 FST more today .* 31") as refused:
        _begin(book, 2, 30, 1)
    assert refused.value.available == 30
    _begin(book, 2, 29, 1)
    with pytest.raises(DailyLimitReached):
        _begin(book, 3, 1)
    with pytest.raises(DailyLimitReached):
        book.begin(SHOP, "node", ("usd", b""), _invoice(1, "USD"), 0, lambda: PaymentId(bytes(16)))
    clock.now = 86400 * 20001
    _begin(book, 3, 100)
    assert [book.spent("shop", "FST", day) for day in (20000, 20001)] == [100, 100]


def test_nothing_may_be_paid_without_a_grant(database):
    """Not even nothing."""
    visitor = Visitor("reader", parse_grants(["read"]))
    with pytest.raises(DailyLimitReached):
        _begin(PaymentBook(database), 1, 0, 0, visitor)


@pytest.mark.parametrize(
    ("state", "fees", "counts"),
    [
        (PaymentState.PAID, 4, 64),
        (PaymentState.PAID, None, 70),
        (PaymentState.FAILED, 4, 0),
        (PaymentState.UNKNOWN, 4, 70),
    ],
)
def test_what_a_payment_counts_in_the_end(database, clock, state, fees, counts):
    """On the day on which it began; once, whatever is said of it later."""
    book = PaymentBook(database)
    payment = _begin(book, 1, 60, 10)
    if fees is not None:
        book.committed(payment, fees)
    clock.now += 86400
    book.settle(payment, state)
    assert book.spent("shop", "FST", 20000) == counts
    book.settle(payment, PaymentState.FAILED)
    book.settle(payment, PaymentState.PAID)
    assert book.spent("shop", "FST", 20000) == counts
    assert book.spent("shop", "FST", 20001) == 0
    assert book.get(payment).state is state
    assert book.get(payment).is_settled
    assert book.unsettled("node") == []


def test_a_failure_is_kept(database):
    """Before the payment is over, and after."""
    book = PaymentBook(database)
    payment = _begin(book, 1, 60)
    book.failing(payment, {"name": "NoRoute", "detail": "none"})
    assert book.get(payment).state is PaymentState.CLOSING
    book.settle(payment, PaymentState.FAILED)
    book.failing(payment, {"name": "Late", "detail": "later"})
    assert (book.get(payment).state, book.get(payment).failure["name"]) == (PaymentState.FAILED, "Late")
    book.failing("unknown", {})
    book.settle("unknown", PaymentState.PAID)


def test_a_failure_beside_a_commit(database):
    """Whoever has the commit can still let the seller collect: the payment was not given up."""
    book = PaymentBook(database)
    payment = _begin(book, 1, 60)
    book.committed(payment, 0)
    book.failing(payment, {"name": "PaymentEndUnknown", "detail": "nobody knows"})
    assert book.get(payment).state is PaymentState.COMMITTED
    assert book.get(payment).failure["name"] == "PaymentEndUnknown"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 20), st.sampled_from([None, *ENDS])),
        max_size=12,
    )
)
def test_the_sum_is_that_of_the_payments(tmp_path_factory, payments):
    """Whatever is begun and settled in whatever order, and never more than the limit."""
    with open_database(tmp_path_factory.mktemp("book"), lambda: NOON) as database:
        book, expected = PaymentBook(database), 0
        for number, (amount, fees_max, end) in enumerate(payments):
            try:
                payment = _begin(book, number, amount, fees_max)
            except DailyLimitReached:
                assert expected + amount + fees_max > 100
                continue
            fees = fees_max // 2
            if end is not None:
                book.committed(payment, fees)
                book.settle(payment, end)
            expected += {PaymentState.FAILED: 0, PaymentState.PAID: amount + fees}.get(end, amount + fees_max)
            assert book.spent("shop", "FST", 20000) == expected <= 100


def test_the_number_of_open_payments_has_a_limit(database, monkeypatch):
    """One that is settled makes room."""
    monkeypatch.setattr(payment_book, "OPEN_PAYMENTS_MAX", 2)
    book = PaymentBook(database)
    first = _begin(book, 1, 1)
    _begin(book, 2, 1)
    with pytest.raises(TooManyOpen):
        _begin(book, 3, 1)
    book.settle(first, PaymentState.FAILED)
    _begin(book, 3, 1)


def test_changes_are_in_order(database):
    """A payment that changes again comes again, behind the others; and only what is newer than the number."""
    book = PaymentBook(database)
    one, two = _begin(book, 1, 1), _begin(book, 2, 1)
    assert [row.payment_id for row in book.after("node", 0, 10, None)] == [one, two]
    seen = book.last_sequence()
    book.committed(one, 0)
    assert [row.payment_id for row in book.after("node", seen, 10, None)] == [one]
    assert [row.payment_id for row in book.after("node", 0, 10, None)] == [two, one]
    assert [row.payment_id for row in book.after("node", 0, 1, "shop")] == [two]
    assert book.after("node", 0, 10, "other") == []
    assert book.after("another node", 0, 10, None) == []


def test_an_invoice(database, clock):
    """From before the node hears of it to its end; its key makes it once."""
    book, invoice = InvoiceBook(database), _invoice(5)
    row, is_new = book.begin(SHOP, "node", ("key", b"r"), invoice, 60)
    assert (row.state, row.expires, is_new) == (InvoiceState.ADDING, NOON + 60, True)
    other = Invoice(InvoiceId(b"\x01" * 32), invoice.currency, invoice.dest_public_key, 5)
    again, is_new = book.begin(SHOP, "node", ("key", b"r"), other, 60)
    assert (again, is_new) == (row, False)
    with pytest.raises(KeyReused):
        book.begin(SHOP, "node", ("key", b"s"), other, 60)
    name = format_b64(invoice.invoice_id)
    commit = build_commit(invoice, SELLER)
    book.change(name, InvoiceState.OPEN)
    assert book.handed(name) is None
    book.hand_over(name, commit, HistoryPlace(7))
    handed = book.handed(name)
    assert handed.after == HistoryPlace(7)
    book.hand_over(name, build_commit(_invoice(6), SELLER), HistoryPlace(8))
    book.put_back(name, handed)
    assert not book.was_collected_with(name, commit)
    book.change(name, InvoiceState.COLLECTED)
    assert book.find(name).state is InvoiceState.COLLECTED
    assert book.was_collected_with(name, commit)
    assert not book.was_collected_with(name, build_commit(_invoice(6), SELLER))
    book.change(name, InvoiceState.COLLECTED)  # once
    book.change(name, InvoiceState.CANCELLED)  # too late
    book.change(name, InvoiceState.OPEN)  # too late, too
    book.change(name, InvoiceState.OVER)
    assert book.find(name).state is InvoiceState.COLLECTED
    book.put_back(name, None)  # too late to be forgotten
    assert book.was_collected_with(name, commit)
    assert book.last_sequence() == 3


def test_an_invoice_that_turns_out_to_be_paid(database):
    """It was taken for over, or for cancelled, before the node could tell; it stays so where it has proved that."""
    book = InvoiceBook(database)
    for number, state in ((1, InvoiceState.OVER), (2, InvoiceState.CANCELLED)):
        invoice = Invoice(InvoiceId(bytes([number]) * 32), Currency("FST"), SELLER.public_key, 5)
        name = format_b64(invoice.invoice_id)
        book.begin(SHOP, "node", (str(number), b"r"), invoice, 60)
        book.change(name, InvoiceState.OPEN)
        book.hand_over(name, build_commit(invoice, SELLER), HistoryPlace(0))
        book.change(name, state)
        in_doubt = book.in_doubt("node", 0, 0, 9)
        assert [format_b64(row.invoice.invoice_id) for row in in_doubt] == [name][: number % 2]
        assert not book.get(name).is_final
        book.change(name, InvoiceState.COLLECTED)
        assert book.get(name).state is InvoiceState.COLLECTED
        assert book.get(name).is_final
        assert not book.in_doubt("node", 0, 0, 9)


@pytest.mark.parametrize("state", [InvoiceState.OVER, InvoiceState.CANCELLED])
def test_an_invoice_that_was_proved_not_to_be_collected(database, state):
    """Its commit is forgotten, all at once; one that was collected stays so."""
    book = InvoiceBook(database)
    invoice = _invoice(5)
    name = format_b64(invoice.invoice_id)
    book.begin(SHOP, "node", ("1", b"r"), invoice, 60, HistoryPlace(4, 9))
    book.change(name, InvoiceState.OPEN)
    book.hand_over(name, build_commit(invoice, SELLER), HistoryPlace(7, 10))
    assert book.get(name).after == HistoryPlace(7, 10)
    before = book.last_sequence()
    book.end(name, state)
    row = book.get(name)
    assert (row.state, row.is_final, row.after, book.handed(name)) == (state, True, HistoryPlace(4, 9), None)
    assert book.last_sequence() == before + 1
    book.change(name, InvoiceState.COLLECTED)
    book.end(name, state)
    assert book.get(name).state is InvoiceState.COLLECTED


def test_the_ends_that_have_come(database, clock):
    """Of invoices that are open, in the order of their changes; not of those that have another state, or no end."""
    book, names = InvoiceBook(database), []
    for number, seconds in enumerate((60, 30, None, 30, 90)):
        invoice = Invoice(InvoiceId(bytes([number]) * 32), Currency("FST"), SELLER.public_key, 5)
        names.append(format_b64(invoice.invoice_id))
        book.begin(SHOP, "node", (str(number), b"r"), invoice, seconds)
        book.change(names[-1], InvoiceState.OPEN)
    book.change(names[3], InvoiceState.CANCELLED)
    now = clock.now
    assert book.next_end("node", now) == now + 30
    assert book.next_end("node", now + 30) == now + 60
    assert book.next_end("other", now) is None
    ended = [format_b64(row.invoice.invoice_id) for row in book.in_doubt("node", now + 60, 0, 9)]
    assert ended == names[:2]
    assert len(book.in_doubt("node", now + 60, 0, 1)) == 1


def test_the_number_of_open_invoices_has_a_limit(database, clock, monkeypatch):
    """One whose time is over makes room."""
    monkeypatch.setattr(invoice_book, "OPEN_INVOICES_MAX", 1)
    book = InvoiceBook(database)
    book.begin(SHOP, "node", ("1", b""), _invoice(5), 60)
    book.change(format_b64(bytes(32)), InvoiceState.OPEN)
    other = Invoice(InvoiceId(b"\x01" * 32), Currency("FST"), SELLER.public_key, 5)
    with pytest.raises(TooManyOpen):
        book.begin(SHOP, "node", ("2", b""), other, 60)
    clock.now += 61
    book.begin(SHOP, "node", ("2", b""), other, 60)


def test_the_number_of_invoices_of_a_day_has_a_limit(database, clock, monkeypatch):
    """Those that have ended count, since they are kept; a new day begins anew, and so does another token."""
    monkeypatch.setattr(invoice_book, "INVOICES_A_DAY_MAX", 2)
    book = InvoiceBook(database)

    def begin(number: int, visitor: Visitor = SHOP) -> str:
        invoice = replace(_invoice(5), invoice_id=InvoiceId(bytes([number]) * 32))
        book.begin(visitor, "node", (str(number), b""), invoice, 1)
        return format_b64(invoice.invoice_id)

    book.change(begin(1), InvoiceState.CANCELLED)
    begin(2)
    clock.now += 60
    for _ in range(2):
        with pytest.raises(TooManyOpen, match="2 invoices today"):
            begin(3)
    begin(2)  # the same request makes no other one
    begin(4, Visitor("other", SHOP.grants))
    clock.now += 86_400
    begin(3)


def _sell(book: InvoiceBook, number: int) -> str:
    """An invoice that is open, and has a commit whose end was not seen."""
    invoice = replace(_invoice(5), invoice_id=InvoiceId(bytes([number]) * 32))
    book.begin(SHOP, "node", (f"invoice {number}", b""), invoice, 60)
    name = format_b64(invoice.invoice_id)
    book.change(name, InvoiceState.OPEN)
    book.hand_over(name, build_commit(invoice, SELLER), HistoryPlace(0))
    return name


def test_what_is_in_doubt_is_never_forgotten(database, clock):
    """Nor is its key, under which it would be paid or asked for again."""
    payments, invoices = PaymentBook(database), InvoiceBook(database)
    unknown, waiting = _begin(payments, 1, 1), _begin(payments, 2, 1)
    payments.settle(unknown, PaymentState.UNKNOWN)
    doubted, missed = _sell(invoices, 1), _sell(invoices, 2)
    for name in (doubted, missed):
        invoices.change(name, InvoiceState.OVER)
    invoices.put_back(missed, None)
    clock.now += 2 * KEPT_SECONDS
    _begin(payments, 3, 1)
    forget_old(database)
    assert invoices.find(missed) is None
    assert [format_b64(row.invoice.invoice_id) for row in invoices.in_doubt("node", 0, 0, 9)] == [doubted]
    for number, payment_id in ((1, unknown), (2, waiting)):
        key = (f"key {number}", hash_request(b"%d" % number))
        row, is_new = payments.begin(SHOP, "node", key, _invoice(1), 0, lambda: PaymentId(bytes(16)))
        assert (row.payment_id, is_new) == (payment_id, False)
    _, is_new = invoices.begin(SHOP, "node", ("invoice 1", b""), _invoice(5), 60)
    assert not is_new


def test_a_start_with_a_clock_that_is_ahead_forgets_nothing(database, clock):
    """What was paid yesterday would be paid again under its key."""
    book = PaymentBook(database)
    paid = _begin(book, 1, 1)
    book.settle(paid, PaymentState.PAID)
    clock.now += 2 * KEPT_SECONDS
    forget_old(database)
    clock.now -= 2 * KEPT_SECONDS
    assert book.find(paid)
    row, is_new = book.begin(SHOP, "node", ("key 1", hash_request(b"1")), _invoice(1), 0, lambda: PaymentId(bytes(16)))
    assert (row.payment_id, is_new) == (paid, False)


def test_what_is_old_is_forgotten(database, clock):
    """What has ended long ago, and its key; not what is open."""
    book = PaymentBook(database)
    one, two = _begin(book, 1, 1), _begin(book, 2, 2)
    book.settle(one, PaymentState.PAID)
    clock.now += KEPT_SECONDS - 86400
    forget_old(database)
    assert book.find(one)
    clock.now += 2 * 86400
    _begin(book, 3, 1)  # ages count up to the last request
    forget_old(database)
    assert book.find(one) is None
    assert book.find(two)
    _begin(book, 1, 1)
