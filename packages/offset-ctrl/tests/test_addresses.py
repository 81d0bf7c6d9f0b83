"""An app finds a node that is at one of several addresses: where it runs, while others stand by. Spec 08 §2.3."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import connect
from offset_ctrl.connection.addresses import first_to_greet
from offset_ctrl.connection.client import NodeConnectionError, open_node
from offset_ctrl.connection.session import open_session
from offset_ctrl.programs.stmgr.cli import _stmgr
from offset_ctrl.testing import ScriptedNode, build_report
from offset_proto.files import IDENTITY, TICKET, IdentityFile
from offset_proto.messages.app import EnableFriend
from offset_proto.node_tickets import NODE_ADDRESSES_MAX, NODE_TICKET, NodeTicket
from offset_proto.types import NetAddress, PrivateKey, PublicKey

KEY = PrivateKey(b"\x01" * 32)
NODE, APP = Identity(KEY), Identity(PrivateKey(b"\x02" * 32))
REPORT = build_report(NODE.public_key)
ASKED = EnableFriend(PublicKey(b"\x03" * 32))
NOBODY = "127.0.0.1:1"


@pytest.fixture
def nodes() -> tuple[ScriptedNode, ScriptedNode]:
    """Two processes of one node."""
    return ScriptedNode(NODE, REPORT), ScriptedNode(NODE, REPORT)


def test_addresses_are_tried_in_turn_again_after_each_connection(nodes: tuple[ScriptedNode, ScriptedNode]) -> None:
    """Beginning behind the one at which the node was last, which is tried last: it may be frozen, and take anybody."""
    one, two = nodes

    async def run() -> None:
        ticker = Ticker(0.2)
        async with asyncio.timeout(20), one.serve(ticker) as first, two.serve(ticker) as second:
            others = (first.address, second.address)
            async with open_session(NOBODY, NODE.public_key, APP, ticker, others=others) as session:
                await session.request(ASKED)
                assert (len(one.requests), len(two.requests)) == (1, 0)
                one.drop()
                await session.request(ASKED)
                assert (len(one.requests), len(two.requests)) == (1, 1)
                two.accepts = False
                two.drop()
                await session.request(ASKED)
                assert (len(one.requests), len(two.requests)) == (2, 1)

    asyncio.run(run())


@contextlib.contextmanager
def _silent(count: int) -> Iterator[tuple[str, ...]]:
    """As many addresses that take connections, as a frozen process does, and say nothing."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        yield tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)


def test_addresses_that_say_nothing_hold_up_no_request(nodes: tuple[ScriptedNode, ScriptedNode]) -> None:
    """The good one is the last of 8, and a request does not wait for a connection for as long as 7 have to greet."""
    one, _ = nodes

    async def run() -> None:
        ticker = Ticker(0.1)
        async with asyncio.timeout(20), one.serve(ticker) as here:
            with _silent(NODE_ADDRESSES_MAX - 1) as silent:
                async with open_session(here.address, NODE.public_key, APP, ticker, others=silent) as session:
                    one.drop()
                    await session.request(ASKED)
        assert one.requests == [ASKED]

    asyncio.run(run())


class _Opened:
    """What an attempt has opened."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class _Attempts:
    """Attempts to connect that end as a test says, at addresses of one letter."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Future[_Opened]] = {}
        self.called_off: list[str] = []
        self._another = asyncio.Event()

    async def open_at(self, address: str) -> _Opened:
        end = self.ends[address] = asyncio.get_running_loop().create_future()
        self._another.set()
        try:
            return await end
        except asyncio.CancelledError:
            self.called_off.append(address)
            raise

    async def begun(self, addresses: str) -> None:
        """Wait until those at *addresses* are under way, and no others were."""
        while len(self.ends) < len(addresses):
            self._another.clear()
            await self._another.wait()
        assert list(self.ends) == list(addresses)

    def fail(self, address: str) -> None:
        self.ends[address].set_exception(NodeConnectionError(f"{address}: refused"))

    async def run(self, addresses: str, tick_seconds: float) -> _Opened:
        """The one that wins, after the end of the block."""
        async with first_to_greet(addresses, self.open_at, Ticker(tick_seconds)) as won:
            assert not won.is_closed
        return won


LONG, SHORT = 10_000.0, 0.001
"""Seconds that a tick lasts, so that nothing begins because one is over, or that all begin soon."""


def test_the_next_address_is_tried_at_once_where_one_fails() -> None:
    """And not before that, within a tick."""

    async def run() -> None:
        attempts, opened = _Attempts(), _Opened()
        running = asyncio.create_task(attempts.run("abc", LONG))
        await attempts.begun("a")
        attempts.fail("a")
        await attempts.begun("ab")
        attempts.ends["b"].set_result(opened)
        assert await running is opened
        assert list(attempts.ends) == ["a", "b"]
        assert opened.is_closed

    asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize("opens", [True, False])
def test_an_address_is_waited_for_while_others_fail(*, opens: bool) -> None:
    """Whichever fails first, the error names them in their order."""

    async def run() -> None:
        attempts, opened = _Attempts(), _Opened()
        running = asyncio.create_task(attempts.run("abc", SHORT))
        await attempts.begun("abc")
        for address in "cb":
            attempts.fail(address)
            await asyncio.sleep(0)
        if opens:
            attempts.ends["a"].set_result(opened)
            assert await running is opened
        else:
            attempts.fail("a")
            with pytest.raises(NodeConnectionError) as caught:
                await running
            assert str(caught.value) == "ConnectionError(a: refused; b: refused; c: refused)"

    asyncio.run(asyncio.wait_for(run(), 20))


def test_of_two_in_the_same_moment_the_first_one_stays() -> None:
    """The other one is closed, and what is still under way is called off."""

    async def run() -> None:
        attempts, opened = _Attempts(), [_Opened(), _Opened()]
        running = asyncio.create_task(attempts.run("abc", SHORT))
        await attempts.begun("abc")
        attempts.ends["c"].set_result(opened[1])
        attempts.ends["b"].set_result(opened[0])
        assert await running is opened[0]
        assert opened[1].is_closed
        assert attempts.called_off == ["a"]

    asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize("why", [asyncio.CancelledError, ZeroDivisionError])
def test_nothing_is_left_of_attempts_that_end_otherwise(why: type[BaseException]) -> None:
    """The caller has ended, or an attempt by a fault of ours, which is not taken for an address without a node."""

    async def run() -> None:
        attempts = _Attempts()
        running = asyncio.create_task(attempts.run("abc", SHORT))
        await attempts.begun("abc")
        if why is asyncio.CancelledError:
            running.cancel()
        else:
            attempts.ends["b"].set_exception(why)
        with pytest.raises(why):
            await running
        assert attempts.called_off == (["a", "b", "c"] if why is asyncio.CancelledError else ["a", "c"])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_where_it_is_at_none_of_them_each_is_named(nodes: tuple[ScriptedNode, ScriptedNode]) -> None:
    """With what went wrong there."""
    one, _ = nodes
    one.accepts = False

    async def run() -> None:
        ticker = Ticker(0.03)
        async with asyncio.timeout(20), one.serve(ticker) as first:
            with pytest.raises(NodeConnectionError) as caught:
                async with open_node(NOBODY, NODE.public_key, APP, ticker, others=(first.address,)):
                    pass
        said = str(caught.value)
        assert said.startswith("ConnectionError(127.0.0.1:1: ")
        assert f"; {first.address}: the node closed the connection; does the node trust this app" in said

    asyncio.run(run())


def test_the_ticket_of_a_node_may_name_several(nodes: tuple[ScriptedNode, ScriptedNode], tmp_path: Path) -> None:
    """`stmgr` makes it, the SDK goes by it, and whoever knows one address only reads the first one."""
    one, _ = nodes
    IDENTITY.save(tmp_path / "node.ident", IdentityFile(KEY))

    async def run() -> None:
        ticker = Ticker(0.03)
        async with asyncio.timeout(20), one.serve(ticker) as first:
            made = ["node-ticket", "-i", str(tmp_path / "node.ident"), "-o", str(tmp_path / "node.ticket")]
            CliRunner().invoke(_stmgr, [*made, "-a", NOBODY, "-a", first.address], catch_exceptions=False)
            assert NODE_TICKET.load(tmp_path / "node.ticket") == NodeTicket(
                NODE.public_key, NetAddress(NOBODY), (first.address,)
            )
            assert TICKET.load(tmp_path / "node.ticket").address == NOBODY
            async with connect(tmp_path / "node.ticket", APP, ticker=ticker) as node:
                assert node.public_key == NODE.public_key

    asyncio.run(run())


def test_one_address_is_a_ticket_of_the_original(tmp_path: Path) -> None:
    """To the byte; and there are not too many in one."""
    IDENTITY.save(tmp_path / "node.ident", IdentityFile(KEY))
    for kind in ("node-ticket", "relay-ticket"):
        words = [kind, "-i", str(tmp_path / "node.ident"), "-o", str(tmp_path / kind), "-a", NOBODY]
        assert CliRunner().invoke(_stmgr, words).exit_code == 0
    assert (tmp_path / "node-ticket").read_bytes() == (tmp_path / "relay-ticket").read_bytes()
    words = ["node-ticket", "-i", str(tmp_path / "node.ident"), "-o", str(tmp_path / "many"), *9 * ["-a", NOBODY]]
    refused = CliRunner().invoke(_stmgr, words).exception
    assert str(refused) == "NodeTicketError(9 addresses of a node; a ticket has at most 8)"
