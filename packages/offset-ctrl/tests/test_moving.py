"""A move carried out at a node that says what the test wants: what is written down, and what is said of the rest."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import MoveRefused, Node, NotPermitted, RequestRefused, blocking, connect
from offset_ctrl.connection.session import open_session
from offset_ctrl.programs.stctrl import friend as commands
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.rules.move_steps import Asked, Unfinished, Wanted
from offset_ctrl.rules.moving import Move
from offset_ctrl.sdk.move_files import MoveFiles
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_receipt, build_report
from offset_proto.files import COMMIT, FRIEND_TICKET, INVOICE, RECEIPT, FriendTicket, Invoice, IoError
from offset_proto.messages.app import (
    AddInvoice,
    AppPermissions,
    AppRequest,
    Canceled,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    DisableFriend,
    EnableFriend,
    Failure,
    PaymentStatusSuccess,
    RemoveFriend,
    SetFriendName,
)
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import EntryKind, HistoryEntry
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    CurrencyConfigReport,
    FriendStatusReport,
    FunderMutationReport,
    PkFriendReportMutation,
    RemoveFriendReport,
    SetChannelStatus,
    SetName,
    SetStatus,
)
from offset_proto.types import Currency, InvoiceId, PrivateKey, PublicKey, Uid

NODE, APP, NEW = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
OLD = PublicKey(b"\x05" * 32)
FST = Currency("FST")
TICKET = FriendTicket(NEW.public_key, ())
THEIRS = Invoice(InvoiceId(b"\x07" * 32), FST, NEW.public_key, 40)
ACK = Uid(b"\x01" * 16)
TO_BE_REMOVED = Unfinished((Asked(Wanted.REMOVAL),), ())


def _channel(balance: int, *, out: int = 0, back: int = 0) -> ChannelConsistentReport:
    return ChannelConsistentReport((build_ledger(FST, balance, out=out, back=back),))


class _Node(ScriptedNode):
    """
    Bob has a balance of *balance* FST. Robert, his new key, is a friend already and configured as bob is.

    Attributes:
        frozen: By the new friend, as soon as there is an invoice of ours.
        new_balance: What the new friend owes once an invoice of ours was collected.
        frozen_late: By bob, at the moment when he is disabled.
        obeys: Whether a change of the configuration is made.
    """

    def __init__(self, balance: int, *, frozen: int = 0) -> None:
        config = (CurrencyConfigReport(FST, Rate(0, 0), 500, True),)
        bob = build_friend("bob", build_ledger(FST, balance), currency_configs=config)
        robert = build_friend("robert", build_ledger(FST), currency_configs=config)
        super().__init__(NODE, build_report(NODE.public_key, {OLD: bob, NEW.public_key: robert}))
        self.balance = balance
        self.frozen = frozen
        self.new_balance = balance
        self.frozen_late = 0
        self.obeys = True
        self.mutations = self._mutations

    def _mutations(self, asked: AppRequest) -> tuple[Any, ...]:
        def of(key: PublicKey, *changed: Any) -> tuple[Any, ...]:
            return tuple(FunderMutationReport(PkFriendReportMutation(key, change)) for change in changed)

        match asked:
            case DisableFriend(key) if self.obeys:
                late = SetChannelStatus(_channel(self.balance, out=self.frozen_late))
                return of(key, SetStatus(FriendStatusReport.DISABLED), late)
            case EnableFriend(key):
                return of(key, SetStatus(FriendStatusReport.ENABLED))
            case AddInvoice():
                return of(NEW.public_key, SetChannelStatus(_channel(0, back=self.frozen)))
            case CommitInvoice():
                return of(NEW.public_key, SetChannelStatus(_channel(self.new_balance)))
            case RemoveFriend(key):
                return (FunderMutationReport(RemoveFriendReport(key)),)
            case SetFriendName(key, name):
                return of(key, SetName(name))
        return ()

    def run(self, body: Callable[[Node], Awaitable[object]]) -> None:
        """Let an app that connects anew do this. The report is that of the beginning again."""

        async def main() -> None:
            ticker = Ticker(0.03)
            async with (
                asyncio.timeout(20),
                self.serve(ticker) as ticket,
                connect(ticket, APP, ticker=ticker) as node,
            ):
                await body(node)

        asyncio.run(main())


def _papers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "payments")


def test_the_new_friend_pays(tmp_path: Path) -> None:
    """
    One invoice, however often the move is begun, also after it was cancelled by hand, which deletes its file.

    With the commit it is collected once, and the balance proves it, as this node keeps no history.
    """
    fake = _Node(100, frozen=100)

    async def body(node: Node) -> None:
        for _ in range(2):
            unfinished = await node.move_friend("bob", TICKET, tmp_path)
            assert unfinished is not None
            assert [asked.wanted for asked in unfinished.asked] == [Wanted.PAYMENT]
            invoice = INVOICE.load(tmp_path / "FST.invoice")
            (tmp_path / "FST.invoice").unlink()
        await node.move_friend("bob", TICKET, tmp_path)
        assert INVOICE.load(tmp_path / "FST.invoice") == invoice
        assert len({asked.invoice_id for asked in fake.asked(AddInvoice)}) == 1
        assert (invoice.dest_public_key, invoice.dest_payment) == (NODE.public_key, 100)
        COMMIT.save(tmp_path / "FST.commit", build_commit(invoice, NODE))
        assert await node.move_friend("bob", TICKET, tmp_path) == TO_BE_REMOVED
        assert len(fake.asked(CommitInvoice)) == 1
        assert await node.move_friend("bob", TICKET, tmp_path, removes_old=True) is None
        assert [friend.name for friend in node.report.friends.values()] == ["robert"]

    fake.run(body)
    assert _papers(tmp_path) == ["FST.commit", "FST.invoice", "account.move"]


def test_what_was_collected_is_not_asked_for_again(tmp_path: Path) -> None:
    """The history of the node tells it: also where the owner has collected by hand, and where it took its time."""
    fake = _Node(100, frozen=100)
    fake.extensions = Extension.HISTORY
    fake.new_balance = 130  # somebody has paid over the new friend, too

    async def collected(node: Node) -> None:
        await node.move_friend("bob", TICKET, tmp_path)
        invoice = INVOICE.load(tmp_path / "FST.invoice")
        COMMIT.save(tmp_path / "FST.commit", build_commit(invoice, NODE))
        slow = await node.move_friend("bob", TICKET, tmp_path, timeout=0.1)
        assert slow == Unfinished((), ("robert to take note that FST was collected",))
        entry = HistoryEntry(
            1,
            0,
            NEW.public_key,
            FST,
            EntryKind.RECEIVED,
            before=0,
            balance=100,
            amount=100,
            fee=0,
            opt_party=None,
            opt_invoice_id=invoice.invoice_id,
            opt_payment_id=None,
            opt_request_id=None,
            note="",
            opt_app=None,
        )
        fake.history = [replace(entry, amount=99)]
        assert await node.move_friend("bob", TICKET, tmp_path, timeout=0.1) == slow
        fake.history = [entry]
        assert await node.move_friend("bob", TICKET, tmp_path, timeout=0.1) == TO_BE_REMOVED

    fake.run(collected)


def test_we_pay(tmp_path: Path) -> None:
    """Directly, with the commit for the new friend, and the receipt for us; in another run nothing is sent again."""
    fake = _Node(-40)
    INVOICE.save(tmp_path / "FST.invoice", THEIRS)
    fake.results = lambda asked: Complete(build_commit(THEIRS, NEW))

    async def body(node: Node) -> None:
        unfinished = await node.move_friend("bob", TICKET, tmp_path)
        assert unfinished is not None
        assert [asked.wanted for asked in unfinished.asked] == [Wanted.COLLECTION]
        assert COMMIT.load(tmp_path / "FST.commit") == build_commit(THEIRS, NEW)
        fake.status = lambda payment_id: PaymentStatusSuccess(build_receipt(THEIRS, NEW), ACK)
        assert await node.move_friend("bob", TICKET, tmp_path) == TO_BE_REMOVED
        assert await node.move_friend("bob", TICKET, tmp_path) == TO_BE_REMOVED

    fake.run(body)
    assert RECEIPT.load(tmp_path / "FST.receipt") == build_receipt(THEIRS, NEW)
    (sent,) = fake.asked(CreateTransaction)
    assert sent.route.public_keys == (NODE.public_key, NEW.public_key)
    assert (sent.dest_payment, sent.fees) == (40, 0)


class _Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("balance", [100, -40])
@pytest.mark.parametrize("is_written", [True, False])
def test_a_kill_at_each_write(tmp_path: Path, balance: int, is_written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Just before or just after the move is written down, at each of these moments once: it goes on, and pays once."""
    fake = _Node(balance, frozen=max(balance, 0))
    fake.results = lambda asked: Complete(build_commit(THEIRS, NEW))
    fake.status = lambda payment_id: PaymentStatusSuccess(build_receipt(THEIRS, NEW), ACK)
    save, died = MoveFiles.save, set[object]()

    def save_or_die(files: MoveFiles, move: Move) -> None:
        done = (bool(it.invoices) + bool(it.commits) + it.is_moved for it in move.currencies)
        moment = move.is_fixed, move.is_settled, *done
        if is_written or moment in died:
            save(files, move)
        if moment not in died:
            died.add(moment)
            raise _Killed

    monkeypatch.setattr(MoveFiles, "save", save_or_die)

    async def run(node: Node) -> Unfinished | None:
        """Again and again; the other person does at once what it is asked for."""
        for _ in range(30):
            with contextlib.suppress(_Killed):
                unfinished = await node.move_friend("bob", TICKET, tmp_path)
                if unfinished in (None, TO_BE_REMOVED):
                    return unfinished
                assert unfinished is not None
                if unfinished.asked[0].wanted is Wanted.PAYMENT:
                    invoice = INVOICE.load(tmp_path / "FST.invoice")
                    COMMIT.save(tmp_path / "FST.commit", build_commit(invoice, NODE))
                elif unfinished.asked[0].wanted is Wanted.INVOICE:
                    INVOICE.save(tmp_path / "FST.invoice", THEIRS)
        raise AssertionError("the move has no end")

    async def body(node: Node) -> None:
        assert await run(node) == TO_BE_REMOVED

    fake.run(body)
    assert len(died) == (6 if balance > 0 else 5)
    move = MoveFiles(tmp_path).load()
    assert move is not None
    assert move.is_settled
    assert len({asked.invoice_id for asked in fake.asked(AddInvoice)}) == (balance > 0)
    assert len(fake.asked(CreateTransaction)) == (balance < 0)
    assert len({asked.commit for asked in fake.asked(CommitInvoice)}) == (balance > 0)


def test_a_payment_that_is_refused_is_tried_again(tmp_path: Path) -> None:
    """The new friend had not set its limit; the command says so, and goes on by itself when it has."""
    fake, said = _Node(-40), list[Unfinished]()
    INVOICE.save(tmp_path / "FST.invoice", THEIRS)
    fake.status = lambda payment_id: Canceled(ACK)
    fake.results = lambda asked: (
        Failure() if len(fake.asked(CreatePayment)) < 3 else Complete(build_commit(THEIRS, NEW))
    )

    async def body(node: Node) -> None:
        await node.move_friend("bob", TICKET, tmp_path, timeout=10, tell=lambda move, what: said.append(what))

    fake.run(body)
    assert [what.waits[0][:35] for what in said if what.waits] == ["robert to take 40 FST: it has to op"]
    assert said[-1].asked[0].wanted is Wanted.COLLECTION


def test_a_seller_that_does_not_collect_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit stays; no second payment begins."""
    monkeypatch.setattr("offset_ctrl.sdk.moving.RECEIPT_SECONDS", 0.05)
    fake = _Node(-40)
    INVOICE.save(tmp_path / "FST.invoice", THEIRS)
    fake.results = lambda asked: Complete(build_commit(THEIRS, NEW))

    async def body(node: Node) -> None:
        first = await node.move_friend("bob", TICKET, tmp_path)
        assert await node.move_friend("bob", TICKET, tmp_path) == first

    fake.run(body)
    assert len(fake.asked(CreatePayment)) == 1


def test_what_was_frozen_in_the_last_moment(tmp_path: Path) -> None:
    """The old friend is as it was, and the move has not begun."""
    fake = _Node(100)
    fake.frozen_late = 5

    async def body(node: Node) -> None:
        with pytest.raises(MoveRefused, match="5 FST on the way out"):
            await node.move_friend("bob", TICKET, tmp_path)
        assert node.friend("bob").status is FriendStatusReport.ENABLED

    fake.run(body)
    assert MoveFiles(tmp_path).load() is None
    assert fake.asked(AddInvoice) == []


def test_what_was_frozen_is_counted(tmp_path: Path) -> None:
    """By the owner's wish, which the directory remembers: credits on the way out are as if they were not frozen."""
    fake = _Node(100)
    fake.frozen_late = 5

    async def body(node: Node) -> None:
        await node.move_friend("bob", TICKET, tmp_path, counts_frozen=True, timeout=0.1)
        assert node.friend("bob").status is FriendStatusReport.DISABLED
        await node.move_friend("bob", TICKET, tmp_path, timeout=0.1)

    fake.run(body)
    move = MoveFiles(tmp_path).load()
    assert move is not None
    assert (move.of(FST).balance, move.is_fixed) == (100, True)
    assert {asked.total_dest_payment for asked in fake.asked(AddInvoice)} == {100}


def test_what_stops_a_move(tmp_path: Path) -> None:
    """Another command at work, a directory of another move, a node that does not obey, a ticket that may not."""
    fake = _Node(100)

    async def body(node: Node) -> None:
        with MoveFiles(tmp_path).locked(), pytest.raises(MoveRefused, match="another command is working"):
            await node.move_friend("bob", TICKET, tmp_path)
        fake.obeys = False
        with pytest.raises(RequestRefused, match="DisableFriend"):
            await node.move_friend("bob", TICKET, tmp_path)
        with pytest.raises(MoveRefused, match="belongs to the move of bob to another key"):
            await node.move_friend("bob", FriendTicket(OLD, ()), tmp_path)

    fake.run(body)
    fake.permissions = AppPermissions(routes=True, buyer=True, seller=False, config=True)

    async def unprivileged(node: Node) -> None:
        with pytest.raises(NotPermitted, match="seller"):
            await node.move_friend("bob", TICKET, tmp_path)

    fake.run(unprivileged)


def test_files(tmp_path: Path) -> None:
    """A currency of any name has a file of its own; papers of others are not overwritten; no place is an error."""
    files = MoveFiles(tmp_path / "move")
    names = [files.path(Currency(name), "invoice").name for name in ("FST", "a/b", "..", "x.612f62")]
    assert names == ["FST.invoice", "x.612f62.invoice", "x.2e2e.invoice", "x.782e363132663632.invoice"]
    assert (tmp_path / "move").stat().st_mode & 0o777 == 0o700
    path = files.path(FST, "invoice")
    files.keep(INVOICE, path, THEIRS)
    files.keep(INVOICE, path, THEIRS)
    with pytest.raises(MoveRefused, match=r"FST\.invoice is another file"):
        files.keep(INVOICE, path, replace(THEIRS, dest_payment=41))
    (tmp_path / "file").write_text("")
    with pytest.raises(IoError):
        MoveFiles(tmp_path / "file")


def test_a_script_without_an_event_loop(tmp_path: Path) -> None:
    """The same verbs."""
    fake = _Node(100)

    async def main() -> None:
        def script(ticket: Any) -> None:
            with blocking.connect(ticket, APP) as node:
                assert node.plan_move("bob", TICKET).currencies[0].balance == 100
                unfinished = node.move_friend("bob", TICKET, tmp_path)
                assert unfinished is not None
                assert unfinished.asked[0].wanted is Wanted.PAYMENT

        async with asyncio.timeout(20), fake.serve(Ticker(0.03)) as ticket:
            await asyncio.to_thread(script, ticket)

    asyncio.run(main())


# The command.


def _command(fake: ScriptedNode, folder: Path, **options: Any) -> int | None:
    ticket = folder / "robert.friend"
    if not ticket.exists():
        FRIEND_TICKET.save(ticket, TICKET)
    given = {
        "name": None,
        "count_frozen": False,
        "dry_run": False,
        "remove_old": False,
        "journal": folder / "move",
        "timeout": 0.1,
        **options,
    }

    async def main() -> int | None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as address,
            open_session(address.address, address.public_key, APP, ticker) as session,
        ):
            return await commands.move(session, given.pop("old", "bob"), ticket, **given)

    return asyncio.run(main())


def test_the_command_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan first, which touches nothing; then whose turn it is, with the commands and the files."""
    fake = _Node(100)
    assert _command(fake, tmp_path, dry_run=True) is None
    planned = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in planned.splitlines() if "|" in line]
    assert ["FST", "100", "the friend", "500", "0/2^32 + 0", "open"] in rows
    assert not (tmp_path / "move").exists()
    assert fake.requests == []

    assert _command(fake, tmp_path) == 3
    shown = capsys.readouterr()
    assert "robert pays you 100 FST" in shown.out
    assert f"Give {tmp_path}/move/FST.invoice to robert." in shown.out
    assert "robert: stctrl buyer pay-invoice" in shown.out
    assert f"Save it as {tmp_path}/move/FST.commit" in shown.out
    assert shown.err.startswith(f"go on: stctrl friend move bob {tmp_path}/robert.friend")


def test_the_command_says_what_is_forgiven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left to be moved where all balances are 0; the old friend goes when the person says so."""
    fake = _Node(0)
    assert _command(fake, tmp_path) is None
    shown = capsys.readouterr().out
    assert "    FST 0\n" in shown
    assert "removes the old one and forgives these" in shown
    assert fake.asked(RemoveFriend) == []
    assert _command(fake, tmp_path, remove_old=True) is None
    removed = capsys.readouterr().out
    assert "    FST 0\nThe old friend is removed now, and these are forgiven.\n" in removed
    assert removed.endswith("\nThe account of bob has moved, and the old friend is removed.\n")
    assert len(fake.asked(RemoveFriend)) == 1


def test_names_of_errors(tmp_path: Path) -> None:
    """As scripts tell them."""
    fake = _Node(100)
    with pytest.raises(CommandError, match=r"^FriendError\(FriendNameNotFound\(carol\)\)"):
        _command(fake, tmp_path, old="carol", journal=tmp_path / "other")
    assert not (tmp_path / "other").exists()
    fake.obeys = False
    with pytest.raises(CommandError, match=r"^FriendError\(RequestRefused\("):
        _command(fake, tmp_path)
    (tmp_path / "robert.friend").unlink()
    FRIEND_TICKET.save(tmp_path / "robert.friend", FriendTicket(OLD, ()))
    with pytest.raises(CommandError, match=r"^FriendError\(MoveRefused\): .*another key"):
        _command(fake, tmp_path)
    fake.permissions = AppPermissions(routes=True, buyer=False, seller=True, config=True)
    with pytest.raises(CommandError, match=r"^InsufficientPermissions\("):
        _command(fake, tmp_path)
