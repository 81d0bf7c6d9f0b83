"""
Sends events to the addresses that want to hear of them.

Each request is signed as Standard Webhooks 1.0 has it (www.standardwebhooks.com), so that receivers in most languages
need no code of their own to check it: ``webhook-id`` is the same at each attempt, ``webhook-timestamp`` the time of
this one, and ``webhook-signature`` the HMAC-SHA-256 of both and the body under the secret of the webhook.

What is to be sent is in the book (`webhook_book`), and nothing of it in memory. One task looks which addresses are due,
and sends to each of them one event at a time, and to so many at once; it looks again when the bell rings, when an
address becomes due, and when an attempt has ended.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
from typing import Final

from offset_ctrl.connection.posting import PostFailed, post
from offset_ctrl.web.bell import Bell
from offset_ctrl.web.database import Database
from offset_ctrl.web.tokens import Tokens
from offset_ctrl.web.webhook_book import EventRow, WebhookBook, WebhookRow
from offset_proto.errors import InvalidInput
from offset_proto.web_address import parse_web_address

__all__ = ["Webhooks", "sign"]

log = logging.getLogger("offset.web")

ATTEMPT_SECONDS: Final = 10.0
AT_ONCE_MAX: Final = 16
QUIET_SECONDS: Final = 60.0
"""After which the book is looked at in any case."""

GONE: Final = 410


def sign(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()}"


class Webhooks:
    """
    The sender.

    Args:
        database: Of the server.
        bell: Rings when there may be something to send.
    """

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell
        self._book = WebhookBook(database)
        self._tokens = Tokens(database)
        self._sending: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                rung = self._bell.listen()
                await self._wait(rung, self._start())
        finally:
            for task in self._sending.values():
                task.cancel()
            await asyncio.gather(*self._sending.values(), return_exceptions=True)

    def _start(self) -> float:
        """Begin to send to all that are due; seconds until another one is."""
        now, wait = self._database.now(), QUIET_SECONDS
        for webhook in self._book.waiting():
            if webhook.webhook_id in self._sending or self._tokens.grants_of(webhook.owner) is None:
                continue  # whoever has made it is not let in now; what waits is kept for a while
            if webhook.due > now:
                return min(wait, float(webhook.due - now))
            if len(self._sending) >= AT_ONCE_MAX:
                break  # one of them ends within `ATTEMPT_SECONDS`
            self._sending[webhook.webhook_id] = asyncio.create_task(self._send(webhook))
        return wait

    async def _wait(self, rung: asyncio.Event, seconds: float) -> None:
        ringing = asyncio.create_task(rung.wait())
        try:
            tasks = {ringing, *self._sending.values()}
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ringing.cancel()
        for webhook_id in [key for key, task in self._sending.items() if task.done()]:
            error = self._sending.pop(webhook_id).exception()
            if error is not None:
                log.error("a fault of ours in a webhook", exc_info=error)
                webhook = self._book.find(webhook_id)
                if webhook is not None:
                    self._book.failed(webhook, "a fault of this program; its log says more")

    async def _send(self, webhook: WebhookRow) -> None:
        event = self._book.first(webhook.webhook_id)
        if event is None:
            return
        try:
            status = await self._post(webhook, event)
        except (PostFailed, InvalidInput) as error:
            self._book.failed(webhook, str(error))
            return
        if 200 <= status < 300:
            self._book.taken(webhook.webhook_id, event)
        elif status == GONE:
            log.warning("%s wants no more events", webhook.address)
            self._book.over(webhook)
        else:
            self._book.failed(webhook, f"{webhook.address} has answered {status}")

    async def _post(self, webhook: WebhookRow, event: EventRow) -> int:
        timestamp = self._database.now()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event.event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(webhook.secret, event.event_id, timestamp, event.body),
        }
        address = parse_web_address(webhook.address, "the address of a webhook")
        return (await post(address, headers, event.body, ATTEMPT_SECONDS)).status
