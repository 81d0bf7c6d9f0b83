"""An app finds a node that is at one of several addresses: where it runs, while others stand by. Spec 08 §2.3."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import connect
from offset_ctrl.connection.client import NodeConnectionError, open_node
from offset_ctrl.connection.session import open_session
from offset_ctrl.programs.stmgr.cli import _stmgr
from offset_ctrl.testing import ScriptedNode
from offset_proto.files import IDENTITY, TICKET, IdentityFile
from offset_proto.messages.app import EnableFriend
from offset_proto.messages.report import FunderReport, IndexClientReport, NodeReport, PkFriendReportList
from offset_proto.node_tickets import NODE_TICKET, NodeTicket
from offset_proto.types import NetAddress, PrivateKey, PublicKey

KEY = PrivateKey(b"\x01" * 32)
NODE, APP = Identity(KEY), Identity(PrivateKey(b"\x02" * 32))
REPORT = NodeReport(FunderReport(NODE.public_key, (), PkFriendReportList(())), IndexClientReport((), None))
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
        ticker = Ticker(0.03)
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
