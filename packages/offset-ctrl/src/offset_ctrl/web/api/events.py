"""
Server-sent events of a node: what has changed, as it changes. (WHATWG HTML, section 9.2.)

=================  ===========================================================================================
`report`           the whole report; the first event of whoever follows the report, on each connection
`report-change`    what has changed in it since
`node`             the node can be reached no more, or can again; comes to whoever follows the report
`payment`          a payment that was made here has changed
`invoice`          an invoice that was made here has changed
`history`          an entry of the history
=================  ===========================================================================================

Each event has an id of three numbers: of the last change of payments, of invoices, and of the last entry of the history
that the client has got; and a fourth one, the timeline of the history, where that is not the first of the node. A
client that connects again sends the last id (`Last-Event-ID`, as browsers do by themselves) and gets what came after:
each entry of the history once, and of payments and invoices the latest state of each that has changed. Without an id it
begins with what comes from now on. Where the history has become another one, the stream of whoever follows it ends, and
its id is refused.

A stream holds no queue. It looks, sends what is new, and looks again when something rings; a client that reads slowly
gets fewer and later events of the report, and never makes the server remember any. Whether the token is still good is
looked up before each event.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from offset_ctrl.connection.history import HistoryPlace
from offset_ctrl.sdk.history import HistoryReplaced
from offset_ctrl.web import views
from offset_ctrl.web.api import buying, selling
from offset_ctrl.web.api.nodes import summary
from offset_ctrl.web.form_parts import encode_form
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import Call, Section, Streamed
from offset_ctrl.web.problems import rejection
from offset_proto.messages.history import EVERY_ENTRY, ReadHistory
from offset_proto.messages.report import FriendReport
from offset_proto.types import PublicKey, Uid

__all__ = ["section"]

section = Section("events", "What has changed, as it changes.")

STREAMS_MAX: Final = 64
STREAMS_OF_ONE_MAX: Final = 16
"""Of one token."""

QUIET_SECONDS: Final = 15.0
"""Then a comment is sent, so that neither side and no proxy between takes the connection for dead."""

PAGE_ENTRIES: Final = 100

Topic = Literal["report", "payments", "invoices", "history"]
_NEEDED: Final[dict[str, tuple[Scope, ...]]] = {
    "report": (Scope.READ,),
    "payments": (Scope.READ, Scope.PAY),
    "invoices": (Scope.READ, Scope.ASK),
    "history": (Scope.READ,),
}
_CURSOR: Final = re.compile("([0-9]{1,15})-([0-9]{1,15})-([0-9]{1,15})(?:-([0-9]{1,20}))?", re.ASCII)


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What to follow; *after* is the id of an event, for clients that can not send Last-Event-ID."""

    topic: Annotated[list[Topic], Meta(min_length=1, max_length=4)]
    after: Annotated[str, Meta(max_length=50)] = ""


@dataclass(frozen=True, slots=True)
class _Cursor:
    payments: int
    invoices: int
    history: HistoryPlace

    def __str__(self) -> str:
        text = f"{self.payments}-{self.invoices}-{self.history.number}"
        return f"{text}-{self.history.timeline}" if self.history.timeline else text


@section.get("/nodes/{node}/events", may=(Scope.READ, Scope.ASK, Scope.PAY))
async def follow_events(call: Call, query: EventsQuery) -> Streamed:
    """Follow a node. Each event has an id; send the last one again to go on after it."""
    for topic in query.topic:
        if not any(call.visitor.grants.has(scope) for scope in _NEEDED[topic]):
            wanted = " or ".join(scope.value for scope in _NEEDED[topic])
            raise rejection(403, "NotGranted", f"to follow {topic}, a token must be one that may {wanted}")
    session = call.node.session
    if "history" in query.topic:
        await session.follow_history()
    cursor = _parse_cursor(call.last_event_id or query.after)
    if cursor is None:
        payments, invoices = call.desk.payment_book.last_sequence(), call.desk.invoice_book.last_sequence()
        cursor = _Cursor(payments, invoices, session.history_place)
    if "history" in query.topic:
        if not cursor.history.number:
            cursor = replace(cursor, history=replace(session.history_place, number=0))
        if cursor.history.timeline != session.history_place.timeline:
            raise HistoryReplaced
    owner, streams = call.visitor.owner, call.desk.streams
    if len(streams) >= STREAMS_MAX or streams.count(owner) >= STREAMS_OF_ONE_MAX:
        raise rejection(429, "TooManyStreams", f"a token has at most {STREAMS_OF_ONE_MAX} streams at once")
    streams.append(owner)
    return Streamed(_Stream(call, frozenset(query.topic), cursor).events(), lambda: streams.remove(owner))


def _parse_cursor(text: str) -> _Cursor | None:
    if not text:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise rejection(400, "InvalidInput", f"{text[:80]!r} is no id of an event; they look like 12-3-456")
    payments, invoices, number, timeline = (int(each or 0) for each in found.groups())
    return _Cursor(payments, invoices, HistoryPlace(number, timeline))


class _Stream:
    """One client's stream."""

    def __init__(self, call: Call, topics: frozenset[str], cursor: _Cursor) -> None:
        self._call = call
        self._topics = topics
        self._cursor = cursor
        self._version = 0
        self._friends: dict[PublicKey, FriendReport] | None = None
        self._away = call.node.reach.away

    async def events(self) -> AsyncIterator[bytes]:
        """The events, until the server ends or the token does."""
        yield b": stweb\n\n"
        while True:
            rung = self._call.desk.bell.listen()
            async for event in self._news():
                if not self._call.is_welcome():
                    return
                yield event
            if not await self._wait(rung):
                yield b":\n\n"
            if self._call.desk.closing.is_set() or not self._call.is_welcome() or self._is_replaced():
                return

    def _is_replaced(self) -> bool:
        """Whether the history is another one than that which the client follows."""
        timeline = self._call.node.session.history_place.timeline
        return "history" in self._topics and timeline != self._cursor.history.timeline

    async def _wait(self, rung: asyncio.Event) -> bool:
        """Wait until there may be something new; False: it was quiet for long."""
        session = self._call.node.session
        waits: list[Coroutine[Any, Any, object]] = [rung.wait(), self._call.desk.closing.wait()]
        if "report" in self._topics:
            waits.append(session.changed(self._version))
        if "history" in self._topics:
            waits.append(session.history_told(self._cursor.history.number))
        tasks = [asyncio.create_task(wait) for wait in waits]
        try:
            done, _ = await asyncio.wait(tasks, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return bool(done)

    async def _news(self) -> AsyncIterator[bytes]:
        if "report" in self._topics:
            if self._away != self._call.node.reach.away:
                self._away = self._call.node.reach.away
                yield self._event("node", summary(self._call.node))
            change = self._report_news()
            if change is not None:
                yield change
        if "payments" in self._topics:
            book, key = self._call.desk.payment_book, self._call.node.key
            for payment in book.after(key, self._cursor.payments, PAGE_ENTRIES, self._call.owner):
                self._cursor = replace(self._cursor, payments=payment.sequence)
                yield self._event("payment", buying.view(self._call, payment))
        if "invoices" in self._topics:
            invoices, key = self._call.desk.invoice_book, self._call.node.key
            for invoice in invoices.after(key, self._cursor.invoices, PAGE_ENTRIES, self._call.owner):
                self._cursor = replace(self._cursor, invoices=invoice.sequence)
                yield self._event("invoice", await selling.report(self._call, invoice))
        if "history" in self._topics:
            async for event in self._history_news():
                yield event

    def _report_news(self) -> bytes | None:
        session = self._call.node.session
        if session.version == self._version:
            return None
        self._version, report = session.version, session.report
        known, self._friends = self._friends, dict(report.friends)
        if known is None:
            return self._event("report", views.report_form(report))
        return self._event("report-change", views.report_change(known, report))

    async def _history_news(self) -> AsyncIterator[bytes]:
        session = self._call.node.session
        while session.history_place.number > (before := self._cursor.history.number):
            asked = ReadHistory(Uid(os.urandom(Uid.SIZE)), before, 0, False, PAGE_ENTRIES, EVERY_ENTRY)
            page = await session.read_history(asked, attempts=None)
            if page.timeline != self._cursor.history.timeline:
                return
            for entry in page.entries:
                self._move_on(entry.number)
                yield self._event("history", views.entry_form(entry))
            self._move_on(max(before, page.through))

    def _move_on(self, number: int) -> None:
        self._cursor = replace(self._cursor, history=replace(self._cursor.history, number=number))

    def _event(self, name: str, value: Any) -> bytes:
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (
            str(self._cursor).encode(),
            name.encode(),
            encode_form(value),
        )
