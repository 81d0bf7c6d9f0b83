"""A disk that is full, a database that somebody else holds, and tasks that fail: what goes on, and what is shown."""

import asyncio
import sqlite3

import pytest

from offset_ctrl.web import going_on
from offset_ctrl.web.bell import Bell
from offset_ctrl.web.database import DatabaseUnavailable
from offset_ctrl.web.going_on import Late, keep_going
from offset_ctrl.web.payment_book import DAY_SECONDS
from offset_ctrl.web.webhook_book import WebhookBook
from offset_proto.files import RECEIPT, IoError
from offset_proto.messages.app import AckClosePayment, CreatePayment
from offset_proto.messages.extensions import GiveUpPayment

NODE = "/api/v1/nodes/node"
PAYMENTS = f"{NODE}/payments"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(going_on, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(going_on, "PAUSE_SECONDS", 0.05)


class _Held:
    """Another process that holds the database for writing, until `release`."""

    def __init__(self, server):
        self._other = sqlite3.connect(server.database.path, isolation_level=None)
        server.database.ask("PRAGMA busy_timeout = 1")
        self._other.execute("BEGIN IMMEDIATE")

    def release(self):
        self._other.execute("ROLLBACK")
        self._other.close()


def test_a_payment_that_ends_while_nothing_can_be_written(run_server, caplog):
    """It is shown as paid, with its receipt; the node may forget it; and what it cost counts once there is room."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice, collects=False)
        found = (await server.pay("a", server.form(invoice, fees_max="5"), "?wait=20")).json()
        assert found["state"] == "committed"
        path = f"{PAYMENTS}/{found['payment_id']}"
        held = _Held(server)
        server.let_pay(invoice)
        server.fake.drop()  # the app connects again, and asks again
        paid = (await server.client.get(f"{path}?wait=20&wait_for=end")).json()
        assert (paid["state"], paid["receipt"]["invoice_id"]) == ("paid", found["invoice"]["invoice_id"])
        refused = await server.pay("b", server.form(server.invoice(2)))
        assert (refused.status_code, refused.json()["title"]) == (503, "DatabaseUnavailable")
        held.release()
        async with asyncio.timeout(20):
            while server.desk.payment_book.unsettled(server.desk.nodes[0].key):
                await server.desk.bell.listen().wait()
        assert server.desk.payment_book.spent("app", "FST", server.database.now() // DAY_SECONDS) == 20
        assert len(server.fake.asked(AckClosePayment)) == 1
        assert (await server.client.get(path)).json()["state"] == "paid"

    run_server(body)
    assert "tried again" in caplog.text


def test_without_its_fees_written_down_no_commit_is_handed_out(run_server, monkeypatch):
    """The payment is given up instead, as long as nobody has the commit."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice, collects=False)

        def committed(payment_id, fees):
            raise DatabaseUnavailable("the disk is full")

        monkeypatch.setattr(server.desk.payment_book, "committed", committed)
        found = (await server.pay("a", server.form(invoice), "?wait=20")).json()
        assert (found["commit"], found["failure"]["detail"]) == (None, "the disk is full")
        assert len(server.fake.asked(CreatePayment)) == 1
        assert server.fake.asked(GiveUpPayment)

    run_server(body)


def test_what_can_not_be_written_is_tried_again_in_order():
    """Also where it is a file; what is a fault of ours is given up and told, and the others are written."""

    async def main():
        bell, written, is_full = Bell(), [], True
        late = Late(bell)

        def write(name, error):
            def attempt():
                if is_full and error is not None:
                    raise error
                written.append(name)

            return attempt

        late.write(write("at once", None))
        late.write(write("book", DatabaseUnavailable("full")))
        late.write(write("file", IoError("x.receipt", "full")))
        late.write(write("after them", None))
        assert written == ["at once"]
        late.try_again()
        assert written == ["at once"]
        is_full, rung = False, bell.listen()
        running = asyncio.create_task(late.run())
        await asyncio.wait_for(rung.wait(), 20)
        running.cancel()
        assert written == ["at once", "book", "file", "after them"]
        late.write(write("later", None))
        assert written[-1] == "later"

    asyncio.run(main())


def test_a_task_that_fails_begins_anew(caplog):
    """And the log says why it has failed."""

    async def main():
        runs = []
        is_third = asyncio.Event()

        async def run():
            runs.append(1)
            if len(runs) < 3:
                raise ZeroDivisionError("a fault of ours")
            is_third.set()
            await asyncio.sleep(60)

        going = asyncio.create_task(keep_going("sweeping", run))
        await asyncio.wait_for(is_third.wait(), 20)
        going.cancel()

    asyncio.run(main())
    assert caplog.text.count("sweeping has failed (ZeroDivisionError)") == 2


def test_the_sender_of_webhooks_begins_anew(run_server, monkeypatch, caplog):
    """A fault in it is told, and does not end it."""
    looked, waiting = [], WebhookBook.waiting

    def broken(book):
        looked.append(1)
        if len(looked) == 1:
            raise ZeroDivisionError("a fault of ours")
        is_again.set()
        return waiting(book)

    monkeypatch.setattr(WebhookBook, "waiting", broken)
    is_again = asyncio.Event()

    async def body(server):
        await asyncio.wait_for(is_again.wait(), 20)

    run_server(body)
    assert "sending webhooks has failed" in caplog.text


def test_a_commit_that_fails_leaves_no_transaction_behind(database):
    """The next one can begin."""
    database.ask("PRAGMA foreign_keys = ON")
    database.ask("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
    database.ask("CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as connection:
        connection.execute("INSERT INTO children VALUES (1)")
    with database.transaction() as connection:
        connection.execute("INSERT INTO parents VALUES (1)")
    assert database.ask("SELECT * FROM children") == []


def test_a_full_disk_keeps_nobody_from_reading(run_server):
    """That a token was used can not be written down, and it is let in all the same."""

    async def body(server):
        header = server.token("reader", "read")
        held = _Held(server)
        assert (await server.client.get(f"{NODE}/report", headers=header)).status_code == 200
        held.release()

    run_server(body)


def test_a_receipt_that_can_not_be_stored_is_stored_later(run_server, monkeypatch):
    """The node is not told to forget the payment before."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice)
        save, tries = RECEIPT.save, []

        def full(path, value):
            tries.append(path)
            if len(tries) < 3:
                raise IoError(path, "no space left")
            save(path, value)

        monkeypatch.setattr(RECEIPT, "save", full)
        found = (await server.pay("a", server.form(invoice))).json()
        assert found["state"] == "paid"
        assert found["receipt"] is not None
        assert server.fake.asked(AckClosePayment) == []

    run_server(body)


def test_a_full_disk_is_told_as_such(database):
    """What was begun is taken back, and goes once there is room."""
    (pages,) = database.ask("PRAGMA page_count")[0]
    database.ask(f"PRAGMA max_page_count = {pages}")
    store = "INSERT INTO facts VALUES ('large', zeroblob(100000))"
    with pytest.raises(DatabaseUnavailable, match="full"), database.transaction() as connection:
        connection.execute(store)
    database.ask(f"PRAGMA max_page_count = {pages + 100}")
    with database.transaction() as connection:
        connection.execute(store)
    assert len(database.ask("SELECT * FROM facts WHERE name = 'large'")) == 1
