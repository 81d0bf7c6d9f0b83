"""Friends that a restored node has to hear first, as its apps learn of them. Spec 12 §7."""

import asyncio
import json
from collections.abc import Callable

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnection, NotAnnounced, open_node
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl import info
from offset_ctrl.sdk.view import NodeView
from offset_ctrl.testing import ScriptedNode, build_friend, build_ledger, build_report
from offset_proto.messages.extensions import Extension, FollowUnheard, UnheardFriends
from offset_proto.types import Currency, PrivateKey, PublicKey

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
BOB, EVE = PublicKey(b"\x05" * 32), PublicKey(b"\x06" * 32)


def _node(*unheard: PublicKey, extensions: Extension = Extension.UNHEARD) -> ScriptedNode:
    owing = build_ledger(Currency("FST"), 7)
    friends = {BOB: build_friend("bob", owing), EVE: build_friend("eve", owing)}
    node = ScriptedNode(NODE, build_report(NODE.public_key, friends))
    node.extensions, node.unheard = extensions, unheard
    return node


def test_an_app_knows_who_was_not_heard(run_session: Callable[..., None]) -> None:
    """From the answer on, and without asking again; a change of it counts as one of the report."""
    fake = _node(BOB, EVE)

    async def body(session: NodeSession) -> None:
        view = NodeView(session)
        assert await view.unheard() == {BOB, EVE}
        seen = session.version
        fake.tell(UnheardFriends(False, (), (BOB,)))
        await session.changed(seen)
        assert session.unheard == {EVE}
        fake.tell(UnheardFriends(False, (BOB,), (NODE.public_key,)))
        while session.unheard != {BOB, EVE}:
            await session.changed(session.version)

    run_session(fake, body)


def test_the_next_connection_begins_anew(run_session: Callable[..., None]) -> None:
    """Who has spoken while there was none is heard; and a node that tells nothing any more leaves nothing behind."""
    fake = _node(BOB, EVE)

    async def reconnect(session: NodeSession, expected: set[PublicKey]) -> None:
        fake.drop()
        while session.unheard != expected:
            await session.changed(session.version)

    async def body(session: NodeSession) -> None:
        await NodeView(session).unheard()
        fake.unheard = (EVE,)
        await reconnect(session, {EVE})
        fake.extensions = Extension(0)
        await reconnect(session, set())

    run_session(fake, body)
    assert fake.asked(FollowUnheard) == [FollowUnheard()] * 2


def test_a_node_that_does_not_tell(run_session: Callable[..., None]) -> None:
    """It is not asked."""
    fake = _node(extensions=Extension.HISTORY)

    async def body(session: NodeSession) -> None:
        with pytest.raises(NotAnnounced, match="can not tell which friends have to speak first"):
            await NodeView(session).unheard()

    run_session(fake, body)
    assert fake.requests == []


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What ``stctrl info friends`` prints."""

    def run(fake: ScriptedNode, *, as_json: bool = False) -> str:
        async def command(node: NodeConnection) -> None:
            await info.friends(node, as_json=as_json)

        async def main() -> None:
            ticker = Ticker(0.03)
            async with (
                asyncio.timeout(20),
                fake.serve(ticker) as ticket,
                open_node(ticket.address, ticket.public_key, APP, ticker) as node,
            ):
                await command(node)

        asyncio.run(main())
        return capsys.readouterr().out

    return run


def test_the_list_of_friends(listed: Callable[..., str]) -> None:
    """Beside the balances that the node remembers; who is heard, or a node that does not tell, looks as ever."""
    text = listed(_node(EVE))
    assert text.count("Not heard. Consistent:") == 1
    assert text.index("bob") < text.index("Not heard.")
    assert "Not heard" not in listed(_node())
    assert listed(_node()) == listed(_node(EVE, extensions=Extension(0)))
    assert [each["heard"] for each in json.loads(listed(_node(EVE), as_json=True))] == [True, False]
    told_nothing = json.loads(listed(_node(EVE, extensions=Extension(0)), as_json=True))
    assert all("heard" not in each for each in told_nothing)
