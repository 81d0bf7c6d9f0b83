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


def test_what_can_not_be_written_is_tried_again(caplog):
    """What concerns one thing in its order; nothing waits for another thing, be it a file or a row that fails."""

    async def main():
        bell, written, failing = Bell(), [], {"book", "file"}
        late = Late(bell)

        def write(subject, name, error=None):
            def attempt():
                if subject in failing and error is not None:
                    raise error
                written.append(name)

            late.write(subject, attempt)

        write("book", "book 1", DatabaseUnavailable("full"))
        write("file", "file 1", IoError("x.receipt", "full"))
        write("book", "book 2")
        write("other", "other 1")
        assert written == ["other 1"]
        late.try_again()
        assert written == ["other 1"]
        failing, rung = {"book"}, bell.listen()
        running = asyncio.create_task(late.run())
        await asyncio.wait_for(rung.wait(), 20)
        assert written == ["other 1", "file 1"]
        failing, rung = set(), bell.listen()
        await asyncio.wait_for(rung.wait(), 20)
        running.cancel()
        assert written == ["other 1", "file 1", "book 1", "book 2"]
        write("book", "book 3")
        assert written[-1] == "book 3"

    asyncio.run(main())
    assert caplog.text.count("tried again") == 2


def test_a_write_that_is_a_fault_of_ours_is_given_up(caplog):
    """The log says so, and what comes after it is written all the same."""

    async def main():
        late, written, errors = Late(Bell()), [], [IoError("x", "full"), ZeroDivisionError("ours")]

        def fail():
            raise errors.pop(0)

        late.write("one", fail)
        late.write("one", lambda: written.append("after it"))
        late.try_again()
        assert written == ["after it"]

    asyncio.run(main())
    assert "ZeroDivisionError: ours" in caplog.text


def test_a_database_that_another_process_holds_is_waited_for_once_in_a_round(database):
    """Each attempt takes as long as SQLite waits, and the server answers nobody meanwhile."""
    database.ask("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    tries = []

    def write():
        tries.append(1)
        with database.transaction() as connection:
            connection.execute("DELETE FROM facts")

    async def main():
        late = Late(Bell())
        for number in range(5):
            late.write(str(number), write)
        tries.clear()
        late.try_again()
        assert len(tries) == 1
        other.execute("ROLLBACK")
        late.try_again()
        assert len(tries) == 6

    asyncio.run(main())
    other.close()


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
