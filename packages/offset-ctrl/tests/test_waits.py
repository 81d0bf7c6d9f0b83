"""
Every wait of the programs and of the SDK for somebody else: its limit, and what is said at its end.

`WAITS` names them, and each of them is provoked once. `test_the_table_is_complete` finds the places in the source where
something is waited for, so that a new one needs a row here. What waits for the user alone (the input of stcompact, the
next report of `Node.reports`) has no limit, and is no row.
"""

import ast
import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import offset_ctrl
from offset_crypto.aio import Connection, Ticker, serve
from offset_crypto.identity import Identity
from offset_ctrl import Node, PayOptions, connect
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.programs.stcompact import cli as stcompact
from offset_ctrl.programs.stcompact.node_source import NodeListener, SourceClosed
from offset_ctrl.programs.stcompact.remote_node import open_remote
from offset_ctrl.programs.stcompact.store import RemoteEntry, Store
from offset_ctrl.programs.stctrl import (
    befriending,
    buyer,
    config,
    friend,
    open_lists,
    payment_files,
    payment_status,
    recover,
    seller,
)
from offset_ctrl.programs.stctrl.payment_files import PaymentFiles
from offset_ctrl.programs.stctrl.session import Login, run
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_report
from offset_proto.contacts import CONTACTS, Contact, ContactCurrency, ContactList
from offset_proto.errors import OffsetError
from offset_proto.files import (
    COMMIT,
    FRIEND_TICKET,
    IDENTITY,
    INVOICE,
    TICKET,
    FriendTicket,
    IdentityFile,
    Invoice,
)
from offset_proto.messages.app import Complete, CreateTransaction, Failure
from offset_proto.messages.extensions import (
    Extension,
    OpenPaymentReport,
    PartReport,
    PartStateReport,
    PaymentStageReport,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import Rate, RelayAddress
from offset_proto.messages.report import (
    CurrencyConfigReport,
    FriendLivenessReport,
    FriendStatusReport,
)
from offset_proto.types import Currency, InvoiceId, NetAddress, PaymentId, PrivateKey, PublicKey, Uid

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
BOB = PublicKey(b"\x05" * 32)
BILL = Invoice(InvoiceId(b"\x07" * 32), Currency("FST"), SELLER.public_key, 20)
PAYMENT_ID = PaymentId(b"\x0d" * 16)
ROUTE = FriendsRoute((NODE.public_key, BOB, SELLER.public_key))
PART = PartReport(Uid(b"\x0e" * 16), ROUTE, 20, 1, PartStateReport.FROZEN, 1000)
QUICK = PayOptions(timeout=0.1, route_seconds=0.0)
TICK = 0.01
SOON = 0.05


def _node() -> ScriptedNode:
    """A friend of Bob, with a seller behind him who is asleep: nothing has an answer."""
    bob = build_friend("bob", status=FriendStatusReport.DISABLED)
    node = ScriptedNode(NODE, build_report(NODE.public_key, {BOB: bob}))
    node.extensions = Extension.OPEN_PAYMENTS | Extension.EXPIRING_INVOICES | Extension.GIVE_UP
    node.routes = lambda asked: (MultiRoute((RouteCapacityRate(ROUTE, 1000, Rate(0, 1)),)),)
    return node


def _frozen() -> ScriptedNode:
    """It greets, and answers nothing after that."""
    node = _node()
    node.before = lambda connection, asked: False
    return node


def _silent_index() -> ScriptedNode:
    node = _node()
    node.before = lambda connection, asked: not isinstance(asked, RequestRoutes)
    return node


@contextlib.asynccontextmanager
async def _session(fake: ScriptedNode) -> AsyncIterator[NodeSession]:
    ticker = Ticker(TICK)
    async with (
        fake.serve(ticker) as ticket,
        open_session(ticket.address, ticket.public_key, APP, ticker) as session,
    ):
        yield session


@contextlib.asynccontextmanager
async def _connection(fake: ScriptedNode) -> AsyncIterator[NodeConnection]:
    ticker = Ticker(TICK)
    async with fake.serve(ticker) as ticket, open_node(ticket.address, ticket.public_key, APP, ticker) as node:
        yield node


@contextlib.asynccontextmanager
async def _app(fake: ScriptedNode, journal: Path | None = None) -> AsyncIterator[Node]:
    ticker = Ticker(TICK)
    async with fake.serve(ticker) as ticket, connect(ticket, APP, journal=journal, ticker=ticker) as node:
        yield node


# What stctrl waits for.


async def _friend_silent_in_recovery(folder: Path) -> int | None:
    entry = ContactCurrency(Currency("FST"), Rate(0, 0), 0, is_open=False, is_active=True, balance=7)
    bob = Contact(BOB, "bob", False, (), (entry,))
    CONTACTS.save(folder / "contacts", ContactList(NODE.public_key, (), (), (bob,)))
    async with _session(_node()) as session:
        return await recover.recover(session, folder / "contacts", (), (), 1, dry_run=False)


async def _no_handshake(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel answers for it
        port = server.getsockname()[1]
        async with open_node(f"127.0.0.1:{port}", NODE.public_key, APP, Ticker(TICK)):
            raise AssertionError("there is no node")


async def _no_greeting(folder: Path) -> None:
    ticker, kept = Ticker(TICK), list[Connection]()
    async with (
        serve("127.0.0.1", 0, NODE, ticker, kept.append, handshakes_max=4) as port,
        open_node(f"127.0.0.1:{port}", NODE.public_key, APP, ticker),
    ):
        raise AssertionError("there is no greeting")


async def _no_ack_of_config(folder: Path) -> None:
    async with _connection(_frozen()) as node:
        await config.enable_friend(node, "bob")


async def _server_that_says_nothing(folder: Path) -> None:
    ticker, kept = Ticker(TICK), list[Connection]()
    async with (
        _connection(_node()) as node,
        serve("127.0.0.1", 0, SELLER, ticker, kept.append, handshakes_max=4) as port,
    ):
        place = RelayAddress(SELLER.public_key, NetAddress(f"127.0.0.1:{port}"))
        TICKET.save(folder / "index.ticket", place)
        await config.add_index(node, folder / "index.ticket", "index", tries=True)


async def _no_ack_of_an_invoice(folder: Path) -> None:
    async with _connection(_frozen()) as node:
        await seller.create_invoice(node, "FST", 5, folder / "new.invoice")


async def _no_list_of_invoices(folder: Path) -> None:
    fake = _node()
    fake.invoices = lambda: None
    async with _connection(fake) as node:
        await open_lists.invoices(node, as_json=False)


async def _no_list_of_payments(folder: Path) -> None:
    fake = _node()
    fake.payments = lambda: None
    async with _session(fake) as session:
        await open_lists.payments(session, as_json=False)


async def _no_invoices_before_a_commit(folder: Path) -> None:
    fake = _node()
    fake.invoices = lambda: None
    COMMIT.save(folder / "bill.commit", build_commit(BILL, SELLER))
    async with _connection(fake) as node:
        await seller.commit_invoice(node, folder / "bill.invoice", folder / "bill.commit")


async def _pay(fake: ScriptedNode, folder: Path, timeout: float = SOON) -> int | None:
    paths = (folder / f"bill.{kind}" for kind in ("invoice", "payment", "commit"))
    async with _session(fake) as session:
        return await buyer.pay_invoice(session, *paths, extra_fees=0, timeout=timeout)


async def _seller_asleep(folder: Path) -> int | None:
    return await _pay(_node(), folder, timeout=0.3)


async def _index_silent(folder: Path) -> int | None:
    return await _pay(_silent_index(), folder)


async def _node_frozen_while_paying(folder: Path) -> int | None:
    return await _pay(_frozen(), folder)


async def _node_frozen_before_it_goes_on(folder: Path) -> int | None:
    _begun(folder)
    return await _pay(_frozen(), folder)


async def _no_close_of_what_has_failed(folder: Path) -> int | None:
    fake = _node()
    fake.results = lambda asked: Failure()
    return await _pay(fake, folder, timeout=10.0)


def _begun(folder: Path) -> PaymentFiles:
    files = PaymentFiles(folder / "bill.payment", invoice=folder / "bill.invoice", commit=folder / "bill.commit")
    files.begin(PAYMENT_ID, BILL)
    files.sending(PAYMENT_ID, (CreateTransaction(PAYMENT_ID, PART.request_id, ROUTE, 20, 1),))
    return files


def _knowing() -> ScriptedNode:
    fake = _node()
    fake.payments = lambda: (OpenPaymentReport(PAYMENT_ID, PaymentStageReport.CLOSING, None, (PART,), None),)
    return fake


async def _no_end_of_a_payment(folder: Path) -> int | None:
    files = _begun(folder)
    async with _session(_knowing()) as session:
        return await payment_status.payment_status(session, files.payment, folder / "bill.receipt", timeout=SOON)


async def _node_frozen_while_asked(folder: Path) -> int | None:
    files = _begun(folder)
    async with _session(_frozen()) as session:
        return await payment_status.payment_status(session, files.payment, folder / "bill.receipt", timeout=SOON)


async def _no_end_of_what_was_given_up(folder: Path) -> int | None:
    files = _begun(folder)
    async with _session(_knowing()) as session:
        return await buyer.give_up(session, files.payment, timeout=SOON)


async def _node_frozen_while_given_up(folder: Path) -> int | None:
    files = _begun(folder)
    async with _session(_frozen()) as session:
        return await buyer.give_up(session, files.payment, timeout=SOON)


async def _files_locked(folder: Path) -> None:
    files = _begun(folder)
    with files._locked():
        PaymentFiles(files.payment).given_up(PAYMENT_ID)


async def _new_friend_away(folder: Path) -> int | None:
    """Bob, who is disabled, owes 5; his new key is a friend already, and offline."""
    away = {
        "currency_configs": (CurrencyConfigReport(BILL.currency, Rate(0, 0), 5, True),),
        "liveness": FriendLivenessReport.OFFLINE,
    }
    bob = build_friend("bob", build_ledger(BILL.currency, 5), status=FriendStatusReport.DISABLED, **away)
    friends = {BOB: bob, SELLER.public_key: build_friend("robert", **away)}
    fake = ScriptedNode(NODE, build_report(NODE.public_key, friends))
    ticket = folder / "robert.friend"
    FRIEND_TICKET.save(ticket, FriendTicket(SELLER.public_key, ()))
    options = {"name": None, "count_frozen": False, "dry_run": False, "remove_old": False}
    options |= {"journal": folder / "move", "timeout": SOON}
    async with _session(fake) as session:
        return await friend.move(session, "bob", ticket, **options)  # type: ignore[arg-type]


async def _friend_away(folder: Path) -> int | None:
    """Bob is added and enabled, and has a name that needs quoting; he does not come."""
    bob = build_friend("b ob", liveness=FriendLivenessReport.OFFLINE)
    fake = ScriptedNode(NODE, build_report(NODE.public_key, {BOB: bob}))
    ticket = folder / "bob.friend"
    FRIEND_TICKET.save(ticket, FriendTicket(BOB, ()))
    async with _session(fake) as session:
        return await befriending.add(
            session, ticket, "b ob", currencies=(), limit=None, rate=None, wait=True, timeout=SOON
        )


async def _no_node(folder: Path) -> None:
    """Nobody listens, and the command may try for a moment."""
    identity, ticket = folder / "app.ident", folder / "node.ticket"
    IDENTITY.save(identity, IdentityFile(PrivateKey(bytes(32))))
    TICKET.save(ticket, RelayAddress(BOB, NetAddress("127.0.0.1:1")))

    async def command(session: NodeSession) -> int:
        raise AssertionError

    await asyncio.to_thread(run, Login(identity, ticket), "config", open_session, command, SOON)


# What stcompact waits for.


def _entry(folder: Path, port: int) -> RemoteEntry:
    ticket = RelayAddress(NODE.public_key, NetAddress(f"127.0.0.1:{port}"))
    return RemoteEntry(is_enabled=True, app=APP, ticket=ticket, directory=folder)


async def _wallet_without_greeting(folder: Path) -> None:
    ticker, kept = Ticker(TICK), list[Connection]()
    async with serve("127.0.0.1", 0, NODE, ticker, kept.append, handshakes_max=4) as port:
        await open_remote(_entry(folder, port), NodeListener(lambda event: None), ticker)


async def _wallet_of_a_node_that_freezes(folder: Path) -> None:
    said: asyncio.Queue[object] = asyncio.Queue()
    fake = _frozen()
    async with fake.serve(Ticker(1000.0)) as ticket:  # a clock that stands still sends nothing
        port = int(str(ticket.address).rpartition(":")[2])
        listener = NodeListener(said.put_nowait)
        await open_remote(_entry(folder, port), listener, Ticker(TICK))
        listener.open(0)
        while not isinstance(event := await said.get(), SourceClosed):
            pass
        raise AssertionError(event.reason)


async def _wallet_at_the_end_of_its_input(folder: Path) -> None:
    class Server:
        async def keep_up(self) -> None:
            """Everything is handled."""

        async def all_acknowledged(self) -> None:
            """The node never answers."""
            await asyncio.Event().wait()

        def end_of_input(self) -> None:
            """The server ends."""

    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    lines.put_nowait(None)
    await stcompact._feed(lines, Server())  # type: ignore[arg-type]


async def _wallet_in_use(folder: Path) -> None:
    first = Store(folder / "wallet")
    try:
        Store(folder / "wallet")
    finally:
        first.close()


# What the SDK waits for.


async def _app_without_an_answer(folder: Path) -> None:
    async with _app(_frozen()) as node:
        await node.create_invoice("FST", 5)


async def _app_whose_node_is_away(folder: Path) -> None:
    fake = _node()
    async with _app(fake) as node:
        fake.accepts = False
        fake.drop()
        await node.create_invoice("FST", 5)


async def _app_without_routes(folder: Path) -> None:
    async with _app(_silent_index()) as node:
        await node.find_routes("FST", 5, BOB)


async def _app_without_what_is_open(folder: Path) -> None:
    fake = _node()
    fake.payments = lambda: None
    async with _app(fake) as node:
        await node.open_payments()


async def _app_whose_seller_sleeps(folder: Path) -> None:
    async with _app(_node()) as node:
        await node.pay(BILL, lambda commit: asyncio.sleep(0), QUICK)


async def _app_that_waits_for_a_commit(folder: Path) -> None:
    async with _app(_node()) as node:
        await node.start_payment(BILL, QUICK).commit(SOON)


async def _app_that_waits_for_a_receipt(folder: Path) -> None:
    async with _app(_node()) as node:
        await node.start_payment(BILL, QUICK).receipt(SOON)


async def _app_that_waits_for_an_end(folder: Path) -> None:
    async with _app(_node()) as node:
        await node.start_payment(BILL, QUICK).ended(SOON)


def _complete() -> ScriptedNode:
    fake = _node()
    fake.results = lambda asked: Complete(build_commit(BILL, SELLER))
    return fake


async def _app_that_delivers_for_ever(folder: Path) -> None:
    async with _app(_complete()) as node:
        await node.pay(BILL, lambda commit: asyncio.Event().wait(), PayOptions(), deliver_timeout=SOON)


async def _app_whose_seller_does_not_collect(folder: Path) -> None:
    async with _app(_complete()) as node:
        await node.pay(BILL, lambda commit: asyncio.sleep(0), PayOptions(), receipt_timeout=SOON)


async def _app_that_waits_for_the_report(folder: Path) -> None:
    async with _app(_node()) as node:
        await node.wait_until(lambda report: False, timeout=SOON)


async def _app_that_waits_to_be_paid(folder: Path) -> None:
    async with _app(_node()) as node:
        await node.wait_for_payment(BILL, timeout=SOON)


async def _app_that_ends(folder: Path) -> None:
    async with _app(_complete()) as node:
        await node.start_payment(BILL, PayOptions()).commit(10)


async def _nothing_new(folder: Path) -> None:
    async with _session(_node()) as session:
        assert not await session.open_changed(SOON)


Provoke = Callable[[Path], Awaitable[int | None]]


@dataclass(frozen=True)
class Wait:
    """
    A wait.

    Attributes:
        what: Is waited for, and by whom.
        limit: After which it ends.
        provoke: Makes it come to its end.
        said: Then, as an error, in the log, or on the terminal; a regular expression.
        places: In the source.
        status: Of the command, where it has one of its own.
    """

    what: str
    limit: str
    provoke: Provoke
    said: str
    places: tuple[str, ...]
    status: int | None = None


_CLIENT, _SESSION = "connection.client.NodeConnection._within", "connection.session.NodeSession._wait_for_connection"
_TOLD = r"frozen: .*\n(?:look: .*\n)?go on: stctrl buyer "

WAITS = [
    Wait("all: a node that accepts and says nothing", "8 ticks", _no_handshake, "timed out", ()),
    Wait("all: a node that does not greet", "8 ticks", _no_greeting, "no answer of the node within 8 s", (_CLIENT,)),
    Wait("stctrl config: the node", "30 ticks", _no_ack_of_config, r"^ConfigError\(AppConfigError\(no answer", ()),
    Wait(
        "stctrl config add-index --try, doctor: the server",
        "2.5 ticks",
        _server_that_says_nothing,
        r"^ConfigError\(ServerTriedInVain\): 127.0.0.1:\d+: it answers as a relay does",
        ("programs.stctrl.trying._listen",),
    ),
    Wait("stctrl seller: the node", "30 ticks", _no_ack_of_an_invoice, r"^SellerError\(AddInvoiceError\(no answer", ()),
    Wait(
        "stctrl seller invoices: the list", "60 ticks", _no_list_of_invoices, r"^SellerError\(ConnectionClosed\(no", ()
    ),
    Wait("stctrl seller commit-invoice: the list", "60 ticks", _no_invoices_before_a_commit, "CommitInvoiceError", ()),
    Wait(
        "stctrl buyer payments: the list",
        "3 times 60 ticks",
        _no_list_of_payments,
        r"^BuyerError\(ConnectionClosed\(no",
        (),
    ),
    Wait(
        "stctrl recover: the friends",
        "--timeout",
        _friend_silent_in_recovery,
        r"bob +\| waiting +\| FST",
        ("programs.stctrl.recover.recover",),
        3,
    ),
    Wait("stctrl pay-invoice: the seller", "--timeout", _seller_asleep, r"\nfrozen: 21 behind bob since", (), 3),
    Wait("stctrl pay-invoice: the index server", "--timeout", _index_silent, _TOLD + "pay-invoice", (), 3),
    Wait("stctrl pay-invoice: its node", "--timeout", _node_frozen_while_paying, _TOLD + "pay-invoice", (), 3),
    Wait(
        "stctrl pay-invoice: its node, for a payment that goes on",
        "--timeout",
        _node_frozen_before_it_goes_on,
        _TOLD + "pay-invoice",
        (),
        3,
    ),
    Wait(
        "stctrl pay-invoice: the end of what has failed",
        "2 s",
        _no_close_of_what_has_failed,
        r"(?s)go on: stctrl buyer payment-status .*CreateTransactionFailed",
        (),
    ),
    Wait(
        "stctrl payment-status: the end",
        "--timeout",
        _no_end_of_a_payment,
        r"Payment is open: [^\n]*\n" + _TOLD,
        ("programs.stctrl.payment_status._Look.until_end",),
        3,
    ),
    Wait("stctrl payment-status: its node", "--timeout", _node_frozen_while_asked, "the node has not answered", ()),
    Wait(
        "stctrl give-up: the seller",
        "--timeout",
        _no_end_of_what_was_given_up,
        _TOLD + "give-up",
        ("programs.stctrl.buyer.give_up", "programs.stctrl.buyer._pay"),
        3,
    ),
    Wait("stctrl give-up: its node", "--timeout", _node_frozen_while_given_up, _TOLD + "give-up", (), 3),
    Wait(
        "stctrl friend add: its node, which may be starting",
        "30 s",
        _no_node,
        r"^ConnectionError\(127.0.0.1:1: .*: look whether stnode runs, and whether .*node.ticket is its ticket",
        (),
    ),
    Wait(
        "stctrl friend add --wait: the friend",
        "--timeout",
        _friend_away,
        r"(?s)^waits for b ob to be online.*go on: stctrl friend add .*bob.friend --name 'b ob' --wait$",
        ("programs.stctrl.befriending.add",),
        3,
    ),
    Wait(
        "stctrl friend move: the new friend's node",
        "--timeout",
        _new_friend_away,
        r"(?s)waits for robert to be online.*go on: stctrl friend move bob ",
        ("sdk.moving.MoveRun._until_changed",),
        3,
    ),
    Wait(
        "stctrl: another command at the same files",
        "2 s",
        _files_locked,
        "another command keeps it locked",
        ("programs.stctrl.payment_files.PaymentFiles._locked",),
    ),
    Wait(
        "stcompact: a node that does not greet",
        "8 ticks",
        _wallet_without_greeting,
        "no greeting",
        ("programs.stcompact.remote_node.open_remote",),
    ),
    Wait("stcompact: a node that freezes", "32 ticks", _wallet_of_a_node_that_freezes, "the connection is closed", ()),
    Wait(
        "stcompact: requests under way at the end of its input",
        "5 s",
        _wallet_at_the_end_of_its_input,
        "requests of the user are still under way",
        ("programs.stcompact.cli._feed",),
    ),
    Wait("stcompact: a store in use", "none: it does not wait", _wallet_in_use, "another process uses it", ()),
    Wait("SDK: the node", "3 times 30 ticks", _app_without_an_answer, "no answer of the node within 30", ()),
    Wait("SDK: a connection", "30 ticks", _app_whose_node_is_away, "no connection to the node", (_SESSION,)),
    Wait("SDK: the index server", "3 times 38 ticks", _app_without_routes, "no answer of the node within 38", ()),
    Wait("SDK: what is open", "3 times 60 ticks", _app_without_what_is_open, "no answer of the node within 30", ()),
    Wait(
        "SDK: a change of what is open",
        "the caller's",
        _nothing_new,
        "^$",
        ("connection.session.NodeSession.open_changed",),
    ),
    Wait(
        "SDK pay: the commit",
        "PayOptions.timeout",
        _app_whose_seller_sleeps,
        "no commit within 0.1 seconds",
        ("sdk.payment.Payment._send",),
    ),
    Wait(
        "SDK Payment.commit",
        "timeout",
        _app_that_waits_for_a_commit,
        "no commit within 0.05 seconds; the payment goes on",
        ("sdk.payment._within",),
    ),
    Wait("SDK Payment.receipt", "timeout", _app_that_waits_for_a_receipt, "no receipt within 0.05 seconds", ()),
    Wait("SDK Payment.ended", "timeout", _app_that_waits_for_an_end, "no end within 0.05 seconds", ()),
    Wait(
        "SDK pay: deliver",
        "deliver_timeout",
        _app_that_delivers_for_ever,
        "the commit was not delivered: TimeoutError",
        ("sdk.trade.NodeTrade.pay",),
    ),
    Wait(
        "SDK pay: the seller",
        "receipt_timeout",
        _app_whose_seller_does_not_collect,
        "has not collected within 0.05",
        (),
    ),
    Wait(
        "SDK wait_until",
        "timeout",
        _app_that_waits_for_the_report,
        "the report has not come to say so within 0.05 s",
        ("sdk.view.NodeView.wait_until",),
    ),
    Wait(
        "SDK wait_for_payment",
        "timeout",
        _app_that_waits_to_be_paid,
        "no commit within 0.05 seconds; the invoice",
        ("sdk.trade.NodeTrade.wait_for_payment",),
    ),
    Wait(
        "SDK: payments at the end of the app",
        "5 s",
        _app_that_ends,
        "1 payments have not ended, and there is no journal",
        ("sdk.trade.NodeTrade.close",),
    ),
]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    INVOICE.save(tmp_path / "bill.invoice", BILL)
    for module, name in (
        (buyer, "CLOSE_SECONDS"),
        (payment_files, "LOCK_SECONDS"),
        (payment_status, "ANSWER_SECONDS"),
        (stcompact, "END_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.3)
    monkeypatch.setattr("offset_ctrl.sdk.trade.CLOSE_SECONDS", SOON)
    monkeypatch.setattr(config, "Ticker", lambda: Ticker(TICK))


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.what)
def test_a_wait_ends_and_says_what_it_waited_for(
    wait: Wait,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit is the wait's own: the one of this test, which ends everything, is never reached."""
    if wait.provoke is _no_handshake:
        monkeypatch.setattr("offset_crypto.aio.sockets.HANDSHAKE_TICKS", 8)
    error: BaseException | None = None
    status: int | None = None

    async def main() -> int | None:
        async with asyncio.timeout(20):
            return await wait.provoke(tmp_path)

    with caplog.at_level(logging.WARNING):
        try:
            status = asyncio.run(main())
        except (OffsetError, TimeoutError, AssertionError) as raised:
            error = raised
    shown = capsys.readouterr()
    text = shown.out + shown.err + ("" if error is None else str(error)) + caplog.text
    assert re.search(wait.said, text), text
    assert status == wait.status


STWEB = {
    "web.guard.Guard._read_body": "test_access.test_slow_clients_are_let_go",
    "web.guard.Guard.__call__": "test_listening.test_a_client_that_does_not_read_is_dropped",
    "web.api.waiting.wait_until": "test_buying.test_a_wait_has_an_end",
    "web.accepting.serve_http": "test_listening.test_https",  # without a limit: until it is cancelled
    "web.wallet.visits._while_reached": "test_wallet_away.test_a_page_that_is_being_made_when_the_node_is_lost",
    "web.settling.Settling._wait": "test_settling.test_an_invoice_with_a_commit_that_comes_to_its_end",
    "web.webhooks.Webhooks._wait": "test_webhooks.test_a_slow_receiver_holds_up_nobody_else",
    "web.api.events._Stream._wait": "test_events.test_a_stream_ends_with_its_token",
}
"""What stweb waits for: the tests, in the folder web, that provoke it."""


def _places(name: str, tree: ast.AST, prefix: str = "") -> set[str]:
    """Functions of a module in which something is waited for with a limit, or without one."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            found |= _places(name, node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
            if calls & {"asyncio.timeout", "asyncio.wait", "asyncio.wait_for", "time.sleep"}:
                found.add(f"{name}.{prefix}{node.name}")
    return found


POSTS = {
    "programs.stctrl.buyer._why_in_vain": "test_buyer.test_a_payment_without_a_way_says_what_was_tried",
    "sdk.reasons._why_friend_refused": "test_reasons.test_nobody_says_how_much_credit_the_friend_gives",
    "connection.posting.post": "test_posting.test_whoever_is_slow",
    "sdk.delivery.deliver_commit": "test_delivery.test_it_ends_after_its_time",
}
"""Requests to programs of others: the tests that provoke each wait."""


def test_the_table_is_complete() -> None:
    """Whoever adds a wait adds its row; stmgr and stverify wait for nobody."""
    root = Path(str(offset_ctrl.__file__)).parent
    found: set[str] = set()
    for path in root.rglob("*.py"):
        source = path.read_text()
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        places = _places(name, ast.parse(source))
        found |= places
        if "stmgr" in path.parts or path.name == "stverify.py":
            assert places == set()
            assert "sleep" not in source
    named = {place for wait in WAITS for place in wait.places}
    # These end with the attempts to connect, which are the first two rows.
    attempts = {"connection.session.open_session", "connection.addresses._first"}
    assert found - attempts == named | set(STWEB) | set(POSTS)
    for folder, tests in ((Path(__file__).parent / "web", STWEB), (Path(__file__).parent, POSTS)):
        for test in tests.values():
            module, _, function = test.partition(".")
            assert f"def {function}(" in (folder / f"{module}.py").read_text()
