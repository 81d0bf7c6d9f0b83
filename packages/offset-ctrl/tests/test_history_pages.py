"""Pages of the history that many ask for at once over one connection. The node is one that closes it beyond four."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from offset_crypto.aio import Connection, Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnectionError
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.testing import ScriptedNode, build_report
from offset_proto.messages.app import AppRequest
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import EVERY_ENTRY, HistoryPage, ReadHistory
from offset_proto.types import PrivateKey, Uid

Poll = Callable[[Callable[[], bool]], Awaitable[None]]
NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))


class SlowNode(ScriptedNode):
    """Reads pages for as long as the test lets it; whoever asks for five at once is gone, as with a real node."""

    def __init__(self) -> None:
        super().__init__(NODE, build_report(NODE.public_key))
        self.extensions = Extension.HISTORY
        self.reading: list[ReadHistory] = []
        self.before = self._read

    def _read(self, connection: Connection, asked: AppRequest) -> bool:
        assert isinstance(asked, ReadHistory)
        self.reading.append(asked)
        if len(self.reading) > 4:
            connection.close("too many pages at once")
        return False

    def answer(self) -> None:
        """Send the page that was asked for first."""
        asked = self.reading.pop(0)
        self.tell(HistoryPage(asked.request_id, (), 0, 0, 0, True, 0))


def _run(body: Callable[[SlowNode, NodeSession], Awaitable[None]]) -> None:
    async def main() -> None:
        node, ticker = SlowNode(), Ticker(0.03)
        async with (
            asyncio.timeout(20),
            node.serve(ticker) as ticket,
            open_session(ticket.address, ticket.public_key, APP, ticker) as session,
        ):
            await body(node, session)

    asyncio.run(main())


def _ask(session: NodeSession, number: int) -> "asyncio.Task[HistoryPage]":
    asked = ReadHistory(Uid(bytes([number]) * 16), 0, 0, False, 1, EVERY_ENTRY)
    return asyncio.create_task(session.read_history(asked))


def test_many_pages_at_once(poll: Poll) -> None:
    """All that share a connection get their page, in turn."""

    async def body(node: SlowNode, session: NodeSession) -> None:
        asking = [_ask(session, number) for number in range(20)]
        for _ in asking:
            await poll(lambda: bool(node.reading))
            node.answer()
        assert [(await each).request_id[0] for each in asking] == list(range(20))
        assert [asked.request_id[0] for asked in node.asked(ReadHistory)] == list(range(20))  # none twice

    _run(body)


def test_a_page_that_nobody_waits_for_any_more_counts_until_it_has_come(poll: Poll) -> None:
    """The node reads it all the same."""

    async def body(node: SlowNode, session: NodeSession) -> None:
        given_up = [_ask(session, number) for number in range(3)]
        await poll(lambda: len(node.reading) == 3)
        for each in given_up:
            each.cancel()
        asking = [_ask(session, number) for number in range(3, 6)]
        await asyncio.wait(asking, timeout=0.1)
        assert len(node.reading) == 3
        for _ in range(6):
            await poll(lambda: bool(node.reading))
            node.answer()
        assert [(await each).request_id[0] for each in asking] == [3, 4, 5]

    _run(body)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_connection_that_ends_while_many_wait(comes_back: bool, poll: Poll, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a turn that does not come: all ask over the next connection, or are told that it was lost."""
    monkeypatch.setattr("offset_ctrl.connection.session.RECONNECT_TICKS", 100 if comes_back else 3)

    async def body(node: SlowNode, session: NodeSession) -> None:
        asking = [_ask(session, number) for number in range(8)]
        await poll(lambda: len(node.reading) == 3)
        node.reading.clear()
        node.accepts = comes_back
        node.drop()
        if not comes_back:
            ended = await asyncio.gather(*asking, return_exceptions=True)
            assert {type(each) for each in ended} == {NodeConnectionError}
            return
        for _ in asking:
            await poll(lambda: bool(node.reading))
            node.answer()
        assert {(await each).request_id[0] for each in asking} == set(range(8))

    _run(body)
