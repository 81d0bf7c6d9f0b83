"""
Circles that are paid through the API, and what they count against the limit of a token.

What goes around comes back, so a circle costs its fees and nothing else, and these are what counts:

    begin ---------> counts fees_max, on the day (UTC) on which it began
      done             counts the fees of the circles that were paid
      failed           counts nothing
      unknown          goes on to count fees_max

A run is stored, with its idempotency key and what it counts, before anything is sent, and each circle as it ends. It
goes on when the client has gone. A run that the end of the server has stopped is not begun again, since nobody knows
how far it came: the circle that was under way has an invoice that ends by itself, or is seen through by the SDK before
the next circle is paid (`offset_ctrl.sdk.circles`). So it is UNKNOWN.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from offset_ctrl.connection.client import NotAnnounced, RoutesUnavailable
from offset_ctrl.sdk.circles import ClearedCircle
from offset_ctrl.web.bell import Bell
from offset_ctrl.web.circle_forms import CircleForm, circle_form
from offset_ctrl.web.database import Database, Row
from offset_ctrl.web.form_parts import Failure, encode_form
from offset_ctrl.web.going_on import Late
from offset_ctrl.web.keys import TooManyOpen, find_key, store_key
from offset_ctrl.web.problems import describe_failure
from offset_ctrl.web.spending import DAY_SECONDS, count, reserve
from offset_ctrl.web.tokens import Visitor
from offset_proto.errors import InvalidInput, OffsetError, RefusedError
from offset_proto.text import format_b64
from offset_proto.types import Currency

__all__ = ["CircleRunRow", "CircleRuns", "Pay", "Tell"]

log = logging.getLogger("offset.web")

RUNS_MAX: Final = 20
"""Of one token, that have not ended; they are paid one after another."""

Kind = Literal["rebalance", "clear"]
State = Literal["running", "done", "failed", "unknown"]
Tell = Callable[[ClearedCircle], None]
Pay = Callable[[Tell], Awaitable[None]]
"""Pays circles, and tells of each that has ended."""

_SURE: Final = (RefusedError, InvalidInput, NotAnnounced, RoutesUnavailable)
"""Where one of these ends a run, no circle is under way."""


@dataclass(frozen=True, slots=True)
class CircleRunRow:
    """
    What is stored of a run; times are seconds since 1970.

    Attributes:
        run_id, node, owner: Its id and the node's key as texts, and whose token began it.
        kind, currency: What it does.
        state: Where it stands.
        fees_max, counted: What mediators may take, and what counts against the limit.
        circles: Those that have ended.
        failure: Why it failed.
        created, changed: When.
    """

    run_id: str
    node: str
    owner: str
    kind: Kind
    currency: str
    state: State
    fees_max: int
    counted: int
    circles: list[CircleForm]
    failure: Failure | None
    created: int
    changed: int


class CircleRuns:
    """
    The runs of a server.

    Args:
        database: Where they are stored; those that an earlier server has left become UNKNOWN.
        bell: Rings at each change.
        late: Writes down what has happened and could not be written down.
    """

    def __init__(self, database: Database, bell: Bell, late: Late) -> None:
        self._database = database
        self._bell = bell
        self._late = late
        self._tasks: set[asyncio.Task[None]] = set()
        with database.transaction() as connection:
            connection.execute("UPDATE circle_runs SET state = 'unknown' WHERE state = 'running'")

    def start(
        self,
        visitor: Visitor,
        node: str,
        key: tuple[str, bytes],
        kind: Kind,
        currency: Currency,
        *,
        fees_max: int,
        pay: Pay,
    ) -> tuple[CircleRunRow, bool]:
        """
        Begin to pay circles; the run, and whether it is new.

        Args:
            visitor: Who pays.
            node: The key of the node, as text.
            key: The idempotency key, and the hash of the request.
            kind, currency: What it does.
            fees_max: Credits for mediators of all circles, at most.
            pay: Does it; is called once everything is stored.

        Raises:
            KeyReused: The key was used for another request.
            DailyLimitReached, TooManyOpen: A limit; nothing was sent.
        """
        with self._database.transaction() as connection:
            made = find_key(self._database, visitor.owner, *key)
            if made is not None:
                return self.get(made), False
            query = "SELECT count(*) FROM circle_runs WHERE owner = ? AND state = 'running'"
            (number,) = self._database.ask(query, visitor.owner)[0]
            if number >= RUNS_MAX:
                raise TooManyOpen(f"{number} runs of this token have not ended; no more are taken until one has")
            now, run_id = self._database.now(), format_b64(os.urandom(16))
            day = now // DAY_SECONDS
            reserve(self._database, visitor, currency, day, fees_max)
            what = (run_id, node, visitor.owner, kind, str(currency), "running")
            amounts = (str(fees_max), day, str(fees_max), "[]", None, now, now)
            connection.execute(f"INSERT INTO circle_runs VALUES ({', '.join('?' * 13)})", (*what, *amounts))
            store_key(self._database, visitor.owner, *key, run_id)
        task = asyncio.create_task(self._run(run_id, pay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self.get(run_id), True

    async def close(self) -> None:
        """Stop what runs; the SDK takes back what can be taken back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def find(self, run_id: str) -> CircleRunRow | None:
        """A run by its id; None: there is none."""
        row = self._database.ask_one("SELECT * FROM circle_runs WHERE run_id = ?", run_id)
        return None if row is None else _row(row)

    def get(self, run_id: str) -> CircleRunRow:
        """A run that is there."""
        row = self.find(run_id)
        assert row is not None
        return row

    # Inside.

    async def _run(self, run_id: str, pay: Pay) -> None:
        done: list[CircleForm] = []

        def tell(ended: ClearedCircle) -> None:
            failure = None if ended.failure is None else describe_failure(ended.failure)
            done.append(circle_form(ended.circle, failure))
            self._late.write(run_id, lambda: self._change(run_id, {"circles": encode_form(done).decode()}))
            self._bell.ring()

        failure: OffsetError | None = None
        try:
            await pay(tell)
        except OffsetError as error:
            failure = error
        except Exception as error:
            log.exception("a fault of ours in a circle")
            failure = OffsetError(f"a fault of this program: {type(error).__name__}")
        self._late.write(run_id, lambda: self._end(run_id, done, failure))
        self._bell.ring()

    def _end(self, run_id: str, done: list[CircleForm], error: OffsetError | None) -> None:
        paid = [int(circle.fees) for circle in done if circle.failure is None]
        state: State = "done" if error is None or paid else "failed"
        if error is not None and not isinstance(error, _SURE):
            state = "unknown"
        with self._database.transaction():
            row = self.get(run_id)
            (day,) = self._database.ask("SELECT day FROM circle_runs WHERE run_id = ?", run_id)[0]
            counted = row.counted if state == "unknown" else sum(paid)
            count(self._database, row.owner, row.currency, day, counted - row.counted)
            failure = None if error is None else encode_form(describe_failure(error)).decode()
            self._update(run_id, {"state": state, "counted": str(counted), "failure": failure})

    def _change(self, run_id: str, columns: dict[str, object]) -> None:
        with self._database.transaction():
            self._update(run_id, columns)

    def _update(self, run_id: str, columns: dict[str, object]) -> None:
        values = {**columns, "changed": self._database.now()}
        assignments = ", ".join(f"{name} = ?" for name in values)
        self._database.ask(f"UPDATE circle_runs SET {assignments} WHERE run_id = ?", *values.values(), run_id)


def _row(row: Row) -> CircleRunRow:
    return CircleRunRow(
        row["run_id"],
        row["node"],
        row["owner"],
        row["kind"],
        row["currency"],
        row["state"],
        int(row["fees_max"]),
        int(row["counted"]),
        msgspec.json.decode(row["circles"], type=list[CircleForm]),
        None if row["failure"] is None else msgspec.json.decode(row["failure"], type=Failure),
        row["created"],
        row["changed"],
    )
