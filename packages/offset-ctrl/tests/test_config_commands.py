"""stctrl config: what is replaced is said, and errors have words after their names. Spec 09 §7."""

import asyncio
from pathlib import Path

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import open_node
from offset_ctrl.programs.stctrl import config
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.testing import ScriptedNode, build_friend, build_report
from offset_proto.files import TICKET
from offset_proto.messages.app import AddIndexServer, AddRelay, AppRequest
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, RelayAddress
from offset_proto.messages.report import (
    AddIndexServerReport,
    AddRelayReport,
    FunderMutationReport,
    IndexClientMutationReport,
    NodeReportMutation,
)
from offset_proto.types import NetAddress, PrivateKey, PublicKey

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
RELAY, INDEX, OTHER = (PublicKey(bytes([n]) * 32) for n in (5, 6, 7))
OLD, NEW = NetAddress("old.example:1337"), NetAddress("new.example:1337")


def _carry_out(asked: AppRequest) -> tuple[NodeReportMutation, ...]:
    match asked:
        case AddRelay(relay):
            return (FunderMutationReport(AddRelayReport(relay)),)
        case AddIndexServer(server):
            return (IndexClientMutationReport(AddIndexServerReport(server)),)
    return ()


@pytest.mark.parametrize(
    ("key", "is_relay", "told"),
    [
        (RELAY, True, "this replaces the relay first at old.example:1337, which has the same key\n"),
        (INDEX, False, "this replaces the index server first at old.example:1337, which has the same key\n"),
        (OTHER, True, ""),
        (OTHER, False, ""),
    ],
)
def test_what_is_replaced_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: PublicKey, is_relay: bool, told: str
) -> None:
    """The node keeps one server for each key, so the first name and address are gone."""
    relays = (NamedRelayAddress(RELAY, OLD, "first"),)
    servers = (NamedIndexServerAddress(INDEX, OLD, "first"),)
    fake = ScriptedNode(NODE, build_report(NODE.public_key, relays=relays, index_servers=servers))
    fake.mutations = _carry_out
    TICKET.save(tmp_path / "ticket", RelayAddress(key, NEW))

    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_node(ticket.address, ticket.public_key, APP, ticker) as node,
        ):
            add = config.add_relay if is_relay else config.add_index
            await add(node, tmp_path / "ticket", "second")

    asyncio.run(main())
    assert capsys.readouterr().err == told


def test_errors_of_commands_have_words(tmp_path: Path) -> None:
    """After the names, which scripts go by: a file that is missing, and a channel that needs no reset."""
    fake = ScriptedNode(NODE, build_report(NODE.public_key, {OTHER: build_friend("bob")}))

    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_node(ticket.address, ticket.public_key, APP, ticker) as node,
        ):
            with pytest.raises(CommandError, match=r"^ConfigError\(RelayFileNotFound\(.*\)\): no such file$"):
                await config.add_relay(node, tmp_path / "ticket", "relay")
            with pytest.raises(CommandError, match=r"^ConfigError\(ChannelNotInconsistent\(bob\)\): you and bob agree"):
                await config.reset_friend(node, "bob")

    asyncio.run(main())
