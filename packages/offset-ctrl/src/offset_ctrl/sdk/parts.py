"""
The parts of one payment: what was sent, what became of each, and what is missing.

There are two sources. The node answers each transaction to the app that has sent it. And where the node tells what is
open, it says of each part where it is, whoever has sent it, and gives the commit. What both say is put into one queue,
as results of transactions. Hearing the same twice changes nothing:

* A part that has failed is not counted among the open ones again, though an older word of the node may still name it.
* A second commit, and the end of a part that is not known, are passed over.

So a payment of an earlier run goes on with the second source alone. An original's node does not have that source, so
the transactions that were written down are sent again under their old ids. The node carries none of them out twice, and
answers with the results that it has.
"""

import asyncio
import logging
import os
import time
from dataclasses import replace
from typing import Final

from offset_ctrl.connection.client import NotAnnounced
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.open_reports import waiting_parts
from offset_ctrl.rules.routes import RouteChoice
from offset_ctrl.rules.suspicion import Sent
from offset_ctrl.sdk.failures import PaymentFailed
from offset_ctrl.sdk.journal import JournalEntry, PaymentRecord
from offset_proto.errors import OffsetError
from offset_proto.messages.app import Complete, CreateTransaction, Failure, Success, TransactionResult
from offset_proto.messages.extensions import (
    Extension,
    OpenPaymentReport,
    PartReport,
    PartStateReport,
    PaymentStageReport,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.types import PaymentId, Uid

__all__ = ["PaymentParts"]

log = logging.getLogger("offset.sdk")

LOOK_SECONDS: Final = 60.0
"""The node's word is looked at after each change, and once in this time for safety."""

_NEWS: Final = TransactionResult(Uid(bytes(Uid.SIZE)), Success())
"""Of no transaction; wakes whoever waits for a result, since the stage of the payment is another."""


class PaymentParts:
    """
    The parts of the payment *payment_id*.

    Attributes:
        stage: Of the payment, as far as the node has said; SENDING until then.
    """

    def __init__(self, session: NodeSession, record: PaymentRecord | None, payment_id: PaymentId) -> None:
        self.stage = PaymentStageReport.SENDING
        self._session = session
        self._record = record
        self._payment_id = payment_id
        self._open: dict[Uid, PartReport] = {}
        self._failed: set[Uid] = set()
        self._results: asyncio.Queue[TransactionResult] = asyncio.Queue()
        self._is_heard = False

    @property
    def open(self) -> tuple[PartReport, ...]:
        """Those that have no end, as they are now."""
        report = self._session.payments.reports.get(self._payment_id)
        return tuple(self._open.values()) if report is None else waiting_parts(report)

    @property
    def dest_payment(self) -> int:
        """Credits for the seller, of all parts that have not failed."""
        return sum(part.dest_payment for part in self._open.values())

    @property
    def fees(self) -> int:
        """Credits for mediators, of all parts that have not failed."""
        return sum(part.fees for part in self._open.values())

    @property
    def has_answers(self) -> bool:
        """Whether the seller has accepted one of them."""
        return any(part.state is PartStateReport.ANSWERED for part in self._open.values())

    @property
    def accepted(self) -> tuple[Sent, ...]:
        """Those that the seller has accepted, and waits for the others."""
        return tuple(
            Sent(part.route.public_keys, part.dest_payment)
            for part in self._open.values()
            if part.state is PartStateReport.ANSWERED
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing was sent that has not failed."""
        return not self._open

    def start(self, choice: RouteChoice) -> None:
        """
        Send the parts of *choice*; they are written down before.

        Raises:
            IoError: They can not be written down; nothing was sent.
        """
        requests = [
            CreateTransaction(
                self._payment_id,
                Uid(os.urandom(Uid.SIZE)),
                FriendsRoute(part.public_keys),
                part.dest_payment,
                part.fees,
            )
            for part in choice.parts
        ]
        if self._record is not None:
            kept = [
                CreateTransaction(self._payment_id, part.request_id, part.route, part.dest_payment, part.fees)
                for part in self._open.values()
            ]
            self._record.sending(self._payment_id, (*kept, *requests))
        for request in requests:
            self._send(request)

    def _send(self, request: CreateTransaction) -> None:
        self._open[request.request_id] = PartReport(
            request.request_id,
            request.route,
            request.dest_payment,
            request.fees,
            PartStateReport.FROZEN,  # for all that is known
            int(time.time()),
        )
        self._session.start_transaction(request, self._results)

    async def take_up(self, entry: JournalEntry, attempts: int | None) -> bool:
        """
        Go on with the parts of an earlier run; False where the node can not have heard of the payment.

        *attempts* is as with `NodeSession.insist`.

        Raises:
            PaymentFailed: Parts were sent, and the node has forgotten the payment.
            NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
        """
        if Extension.OPEN_PAYMENTS not in self._session.extensions:
            for request in entry.parts:
                self._send(request)
            return bool(entry.parts)
        await self._session.follow_payments(attempts=attempts)
        report = self._session.payments.reports.get(self._payment_id)
        if report is None and entry.parts:
            raise PaymentFailed("the node does not know the payment any more")
        if report is not None:
            self._hear(report)
        return report is not None

    async def result(self) -> TransactionResult:
        """
        The next result; waits for it.

        Returns:
            Of a part, once that is answered or has failed. A `Complete` may be of any part. A `Success` of no part
            means that `stage` has changed.
        """
        result = await self._results.get()
        part = self._open.get(result.request_id)
        if part is not None and isinstance(result.result, Success):
            self._open[part.request_id] = replace(part, state=PartStateReport.ANSWERED)
        return result

    def fail(self, request_id: Uid) -> Sent | None:
        """A part has failed: which; None where that is known already."""
        part = self._open.pop(request_id, None)
        if part is None:
            return None
        self._failed.add(request_id)
        self._session.forget_transaction(request_id)
        return Sent(part.route.public_keys, part.dest_payment)

    def forget(self) -> None:
        """No result matters any more."""
        for request_id in self._open:
            self._session.forget_transaction(request_id)

    # What the node says is open.

    async def watch(self) -> None:
        """Hear of the payment also by what the node says is open, for ever; ends at once where the node does not."""
        try:
            if not self._session.follows_payments:
                await self._session.follow_payments()
        except NotAnnounced:
            return
        except OffsetError as error:
            log.warning("what the node says is open can not be followed: %s", error)
            return
        while True:
            report = self._session.payments.reports.get(self._payment_id)
            if report is not None:
                self._hear(report)
            elif self._is_heard:  # whoever acknowledged its end, it was not we
                self.stage = PaymentStageReport.ACKNOWLEDGED
                self._results.put_nowait(_NEWS)
            await self._session.open_changed(LOOK_SECONDS)

    def _hear(self, report: OpenPaymentReport) -> None:
        self._is_heard = True
        for part in waiting_parts(report):
            if part.request_id not in self._failed:
                self._open[part.request_id] = part
        for part in report.parts:
            if part.state is PartStateReport.CANCELLED and part.request_id in self._open:
                self._results.put_nowait(TransactionResult(part.request_id, Failure()))
        if report.opt_commit is not None:
            self._results.put_nowait(TransactionResult(_NEWS.request_id, Complete(report.opt_commit)))
        if report.stage is not self.stage:
            self.stage = report.stage
            self._results.put_nowait(_NEWS)
