"""
An HTTP request for each invoice that is paid: at least once, signed, with retries that outlive a restart.

The node tells of an invoice; the plugin keeps it in its store, and returns. A thread of its own sends what is stored,
oldest first, and removes what the receiver has taken with a status of 200 to 299.
"""

import hashlib
import hmac
import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from offset_funder.effects import InvoicePaid
from offset_node.plugins.access import NodeAccess, PluginStore
from offset_node.plugins.hooks import hookimpl
from offset_proto.errors import InvalidInput
from offset_proto.text import format_b64

__all__ = ["Webhook", "sign"]

log = logging.getLogger("offset.plugins.webhook")

TIMEOUT_SECONDS: Final = 10.0
RETRY_SECONDS_MAX: Final = 300.0
SECRET_BYTES_MIN: Final = 16


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """HMAC-SHA-256 over ``timestamp.body`` in hexadecimal; the receiver makes the same and compares."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhook:
    """
    The plugin.

    Args:
        retry_seconds: Wait after the first failure; each further one doubles it, up to five minutes.
        clock: Seconds since 1970, for the timestamp that is signed.
    """

    hooks_version = 1

    def __init__(self, retry_seconds: float = 1.0, clock: Callable[[], float] = time.time) -> None:
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._url = ""
        self._secret = b""
        self._store: PluginStore
        self._next = 1
        self._filled = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

    @hookimpl
    def offset_startup(self, node: NodeAccess) -> None:
        """Read where to send to, and go on with what was not sent."""
        self._url = node.setting("url", str)
        if not self._url.startswith(("http://", "https://")):
            raise InvalidInput(f"setting 'url': {self._url!r} is no http:// or https:// address")
        secret_file = Path(node.setting("secret_file", str))
        try:
            self._secret = secret_file.read_bytes().strip()
        except OSError as error:
            raise InvalidInput(f"setting 'secret_file': {secret_file}: {error.strerror}") from None
        if len(self._secret) < SECRET_BYTES_MIN:
            raise InvalidInput(f"setting 'secret_file': {secret_file} has less than {SECRET_BYTES_MIN} bytes")
        self._store = node.store
        self._next = max((int(key) for key in self._store), default=0) + 1
        self._filled.set()
        self._thread.start()

    @hookimpl
    def offset_invoice_paid(self, invoice: InvoicePaid) -> None:
        """Keep it; the thread sends it."""
        event = {
            "event": "invoice_paid",
            "invoice_id": format_b64(invoice.invoice_id),
            "currency": str(invoice.currency),
            "amount": str(invoice.amount),
        }
        self._store[f"{self._next:020}"] = json.dumps(event).encode()
        self._next += 1
        self._filled.set()

    @hookimpl
    def offset_shutdown(self) -> None:
        """Stop to send; what is left is sent after the next start."""
        self._ended.set()
        self._filled.set()
        self._thread.join(TIMEOUT_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._filled.wait()
            self._filled.clear()
            for key in sorted(self._store):
                if not self._deliver(self._store[key]):
                    return
                del self._store[key]

    def _deliver(self, body: bytes) -> bool:
        """Until the receiver has it, or the node ends: False."""
        wait = self._retry_seconds
        while not self._ended.is_set():
            if self._post(body):
                return True
            self._ended.wait(wait)
            wait = min(wait * 2, RETRY_SECONDS_MAX)
        return False

    def _post(self, body: bytes) -> bool:
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "Offset-Timestamp": timestamp,
            "Offset-Signature": sign(self._secret, timestamp, body),
        }
        request = urllib.request.Request(self._url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                return 200 <= int(response.status) < 300
        except (OSError, ValueError) as error:  # HTTPError is an OSError, too
            log.warning("webhook: not taken, trying again: %s", error)
            return False
