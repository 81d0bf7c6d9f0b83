"""
A node, as an app sees it: all verbs on one class.

    async with connect("node.ticket", "app.ident", journal="payments") as node:
        receipt = await node.pay(invoice, deliver)

Friends, relays and index servers are named by their local names or by their keys, currencies by text. The verbs stand
in four modules, each on what the one before has: `view`, `configuration`, `trade`, and here what is made of those.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from offset_crypto.aio import Proxy, Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.rules.circles import Circle, Transfer
from offset_ctrl.rules.move_steps import Unfinished
from offset_ctrl.rules.moving import Move, MoveRefused, plan_move
from offset_ctrl.sdk.circles import Circles, ClearedCircle
from offset_ctrl.sdk.errors import (
    CommitNotDelivered,
    InvoiceEndUnknown,
    InvoiceNotOpen,
    NotPermitted,
    PaymentPending,
    RequestRefused,
    UnknownName,
)
from offset_ctrl.sdk.journal import Journal
from offset_ctrl.sdk.move_files import MoveFiles
from offset_ctrl.sdk.moving import MoveRun
from offset_ctrl.sdk.payment import PayOptions
from offset_ctrl.sdk.trade import NodeTrade
from offset_ctrl.sdk.view import FriendName
from offset_proto.files import IDENTITY, FriendTicket
from offset_proto.messages.payment import RelayAddress
from offset_proto.node_tickets import NODE_TICKET, other_addresses
from offset_proto.proxies import parse_proxy
from offset_proto.types import U128, Currency, PublicKey

__all__ = [
    "CommitNotDelivered",
    "InvoiceEndUnknown",
    "InvoiceNotOpen",
    "Node",
    "NotPermitted",
    "PaymentPending",
    "RequestRefused",
    "UnknownName",
    "connect",
    "use_session",
]


class Node(NodeTrade):
    """
    An open node; made by `connect`.

    All verbs of an app are on this one class. What has a life of its own is kept elsewhere: payments, commits, and the
    connection.
    """

    def __init__(self, session: NodeSession, journal: Journal | None, *, goes_on: bool = False) -> None:
        super().__init__(session, journal, goes_on=goes_on)
        self._circles = Circles(self, session.tick_seconds)

    # Circles.

    async def plan_rebalance(
        self, currency: str, amount: U128, out: FriendName, back: FriendName, *, fees_max: U128 | None = None
    ) -> Circle:
        """
        The circle that `rebalance` would pay now; only routes are asked for.

        Raises:
            UnknownName: There is no such friend.
            NoRoute: No circle carries so much; `AmountTooLarge` says what could be.
            FeesTooHigh: It costs more than *fees_max* credits.
            RoutesUnavailable: The node is not connected to an index server.
        """
        self._check("routes")
        wanted = Transfer(self._friend_key(out), self._friend_key(back), amount)
        return await self._circles.plan(Currency(currency), wanted, fees_max)

    async def rebalance(
        self,
        currency: str,
        amount: U128,
        out: FriendName,
        back: FriendName,
        *,
        fees_max: U128 | None = None,
        timeout: float = 60.0,
    ) -> Circle:
        """
        Pay *amount* credits to this node itself, out through one friend and back through another.

        What *out* owes us and what we owe *back* both shrink; nobody else's balance changes but by fees. The node
        must be able to end an invoice, or the app must have a journal, so that nothing stays frozen where it is killed.

        Args:
            currency: Of both balances.
            amount: Credits that are to come back.
            out: The friend through which they go out.
            back: The friend through which they come back.
            fees_max: Credits that mediators may take. Where their rates are not known, so much is offered, and what
                they leave comes back. None: what index servers say.
            timeout: Seconds for the payment.

        Raises:
            NotAnnounced: There is neither; nothing was sent.
            PaymentFailed: Nothing was paid, and why.
            UnknownName, RoutesUnavailable: As `plan_rebalance`.
        """
        self._check_circles()
        wanted = Transfer(self._friend_key(out), self._friend_key(back), amount)
        return await self._circles.pay(Currency(currency), wanted, fees_max, timeout)

    async def plan_clear(
        self,
        currency: str,
        *,
        towards: int = 0,
        keep: Mapping[FriendName, int] | None = None,
        fees_max: U128 | None = None,
    ) -> tuple[Circle, ...]:
        """
        The circles that `clear` would begin with now; only routes are asked for. The arguments are those of `clear`.

        Each is one that could be paid alone: two of them may need the same credit further on.
        """
        self._check("routes")
        return await self._circles.plan_all(Currency(currency), self._targets(towards, keep), fees_max)

    async def clear(
        self,
        currency: str,
        *,
        towards: int = 0,
        keep: Mapping[FriendName, int] | None = None,
        fees_max: U128 | None = None,
        timeout: float = 60.0,
        tell: Callable[[ClearedCircle], None] | None = None,
    ) -> tuple[ClearedCircle, ...]:
        """
        Pay all circles that bring the balances with friends nearer to where they are wanted.

        Args:
            currency: Of the balances.
            towards: The balance that is wanted with each friend, in credits that it owes us.
            keep: Other balances that are wanted with single friends.
            fees_max: Credits that mediators of all circles together may take; None: what index servers say.
            timeout: Seconds for each circle.
            tell: Is told of each circle as soon as it has ended.

        Returns:
            The circles in their order, also those that failed. No balance has gone beyond where it is wanted, but by
            fees that were offered and not taken: rates are rounded, and not always known.

        Raises:
            NotAnnounced, UnknownName, RoutesUnavailable: As `rebalance`.
        """
        self._check_circles()
        targets = self._targets(towards, keep)
        return await self._circles.pay_all(Currency(currency), targets, fees_max, timeout, tell)

    # Moving an account.

    def plan_move(
        self, old: FriendName, ticket: FriendTicket, *, name: str | None = None, counts_frozen: bool = False
    ) -> Move:
        """
        What `move_friend` would carry over, with the balances as they are now; nothing is asked for.

        Raises:
            UnknownName: There is no such friend.
            MoveRefused: It can not be moved as things are, and why.
        """
        return plan_move(self.report, self._friend_key(old), ticket, name, counts_frozen=counts_frozen)

    async def move_friend(
        self,
        old: FriendName,
        ticket: FriendTicket,
        directory: Path,
        *,
        name: str | None = None,
        counts_frozen: bool = False,
        removes_old: bool = False,
        timeout: float = 60.0,
        tell: Callable[[Move, Unfinished], None] = lambda move, unfinished: None,
    ) -> Unfinished | None:
        """
        Move the account of a friend that has lost its key to its new key, as far as that goes now.

        The old friend is disabled at once. The new one gets its limits, rates and openings, and in each currency its
        balance, by one payment over the direct link. What persons have to do for that is in the result; then call this
        again with the same *directory*, which remembers everything, also where the app is killed.

        Args:
            old: The friend whose key was lost.
            ticket: Of its new key.
            directory: Of this move alone; `offset_ctrl.sdk.move_files` says what is in it.
            name: The local name of the new friend in the end; None: that of the old one.
            counts_frozen: Count what is frozen with the old friend, as the terms of a reset do, instead of refusing.
            removes_old: At the end remove the old friend, which forgives its balance.
            timeout: Seconds to wait for the new friend's node, in all.
            tell: Is told of the move and of what it waits for, each time that this is something else.

        Returns:
            What is wanted of persons and waited for; None where the account has moved, and the old friend is gone.

        Raises:
            MoveRefused: It can not be moved as things are, and why.
            UnknownName: There is no such friend, and the directory knows none.
            RequestRefused, IoError, StringSerdeError: The node did not make a change; a file is damaged.
        """
        for permission in ("config", "buyer", "seller"):
            self._check(permission)
        if not directory.exists():
            self.plan_move(old, ticket, name=name, counts_frozen=counts_frozen)  # what is refused makes no directory
        files = MoveFiles(directory)
        with files.locked():
            move = files.load()
            if move is None:
                move = self.plan_move(old, ticket, name=name, counts_frozen=counts_frozen)
                files.save(move)
            if old not in (move.old, move.old_name) or move.new != ticket.public_key:
                raise MoveRefused(f"{directory} belongs to the move of {move.old_name} to another key")
            run = MoveRun(self._session, files, self._change, move, removes=removes_old, timeout=timeout, tell=tell)
            return await run.run()

    # Inside.

    def _check_circles(self) -> None:
        for permission in ("routes", "buyer", "seller"):
            self._check(permission)

    def _targets(self, towards: int, keep: Mapping[FriendName, int] | None) -> dict[PublicKey, int]:
        wanted = {self._friend_key(friend): amount for friend, amount in (keep or {}).items()}
        return {key: wanted.get(key, towards) for key in self.report.friends}


@asynccontextmanager
async def connect(
    ticket: RelayAddress | Path | str,
    app: Identity | Path | str,
    *,
    journal: Path | str | None = None,
    go_on: PayOptions | None = None,
    proxy: str | None = None,
    ticker: Ticker | None = None,
) -> AsyncIterator[Node]:
    """
    Connect an app to its node, for the length of an ``async with`` block; a lost connection is made again.

    Args:
        ticket: The node's ticket, or the path of its file: where the node is, and the key that it must prove. Several
            addresses are tried in turn, now and after each lost connection.
        app: The app's identity, or the path of its file; the node must trust it.
        journal: Directory to remember payments in, so that they survive the end of the app.
        go_on: With a journal: payments that have no commit yet are not given up when the app ends. They go on when it
            is back, under these limits, and have their commit as soon as the node has it. None: they are given up.
        proxy: A SOCKS5 proxy through which the node is reached, such as ``socks5h://127.0.0.1:9050`` for Tor. It looks
            the name of the node up; numbers of this machine are reached directly.
        ticker: Ticks of the process, where it has some already.

    Raises:
        InvalidInput, ProxyUnavailable: *proxy* is none, or the extra ``offset-ctrl[proxy]`` is not installed.
        IoError, StringSerdeError: A file can not be read, or is another one.
        NodeConnectionError: The node was not reached, has another key, or does not trust this app.
    """
    address = ticket if isinstance(ticket, RelayAddress) else NODE_TICKET.load(Path(ticket))
    identity = app if isinstance(app, Identity) else Identity(IDENTITY.load(Path(app)).private_key)
    kept = None if journal is None else Journal(Path(journal))
    through = None if proxy is None else Proxy(parse_proxy(proxy))
    async with (
        open_session(
            address.address, address.public_key, identity, ticker, through, others=other_addresses(address)
        ) as session,
        use_session(session, kept, go_on) as node,
    ):
        yield node


@asynccontextmanager
async def use_session(session: NodeSession, journal: Journal | None, go_on: PayOptions | None) -> AsyncIterator[Node]:
    """The verbs of a node over a session that is open, for the length of a ``with`` block; see `connect`."""
    node = Node(session, journal, goes_on=go_on is not None and journal is not None)
    node._resume_payments(go_on or PayOptions())
    try:
        yield node
    finally:
        await node.close()
