"""Each paid invoice is posted until the receiver takes it, and can be checked by the receiver."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from offset_funder.effects import InvoicePaid
from offset_node.plugins.testing import build_node_access
from offset_proto.errors import InvalidInput
from offset_proto.types import Currency, InvoiceId
from offset_webhook import Webhook, sign

SECRET = b"a secret of 24 bytes ..."


class Receiver(HTTPServer):
    """An HTTP server that fails a number of times, then takes what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.failures = 0
        self.taken: list[dict[str, str]] = []
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/paid"

    def wait_for(self, count: int) -> list[str]:
        """Amounts of the first *count* events."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.taken) >= count, 20)
            return [event["amount"] for event in self.taken]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        expected = sign(SECRET, self.headers["Offset-Timestamp"], body)
        with self.server.changed:
            is_taken = self.server.failures == 0 and self.headers["Offset-Signature"] == expected
            self.server.failures = max(0, self.server.failures - 1)
            self.send_response(204 if is_taken else 503)
            self.end_headers()
            if is_taken:
                self.server.taken.append(json.loads(body))
                self.server.changed.notify_all()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """On loopback."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def secret(tmp_path):
    """The file of the secret."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return str(path)


def _start(url: str, secret: str, values: dict[str, bytes]) -> Webhook:
    plugin = Webhook(retry_seconds=0.01)
    plugin.offset_startup(build_node_access({"url": url, "secret_file": secret}, values))
    return plugin


def _paid(amount: int) -> InvoicePaid:
    return InvoicePaid(InvoiceId(b"\x01" * 32), Currency("FST"), amount)


def test_signature():
    """As ``printf '1764093600.{"a": 1}' | openssl dgst -sha256 -hmac Jefe`` has it."""
    expected = "68c71dc43d8fee592c0c4acece5acd50e8ac04b55497fb265e16b308a473d751"
    assert sign(b"Jefe", "1764093600", b'{"a": 1}') == expected


def test_every_invoice_arrives_in_order(receiver, secret):
    """The receiver fails five times in between; nothing is left in the store."""
    values: dict[str, bytes] = {}
    plugin = _start(receiver.url, secret, values)
    plugin.offset_invoice_paid(_paid(1))
    assert receiver.wait_for(1) == ["1"]
    receiver.failures = 5
    for amount in (2, 3, 2**100):
        plugin.offset_invoice_paid(_paid(amount))
    assert receiver.wait_for(4) == ["1", "2", "3", str(2**100)]
    assert receiver.taken[0] == {
        "event": "invoice_paid",
        "invoice_id": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        "currency": "FST",
        "amount": "1",
    }
    plugin.offset_shutdown()


def test_what_was_not_sent_is_sent_after_a_restart(receiver, secret):
    """Nobody listened when the invoice was paid."""
    values: dict[str, bytes] = {}
    plugin = _start("http://127.0.0.1:1/", secret, values)
    plugin.offset_invoice_paid(_paid(7))
    plugin.offset_shutdown()
    assert len(values) == 1
    again = _start(receiver.url, secret, values)
    assert receiver.wait_for(1) == ["7"]
    again.offset_invoice_paid(_paid(8))
    assert receiver.wait_for(2) == ["7", "8"]
    again.offset_shutdown()
    assert values == {}


def test_wrong_settings_keep_the_node_from_starting(tmp_path, secret):
    """With the setting that is wrong."""
    short = tmp_path / "short"
    short.write_bytes(b"short")
    for settings, reason in (
        ({}, "'url' is missing"),
        ({"url": "file:///etc/passwd", "secret_file": secret}, "no http:// or https://"),
        ({"url": "http://127.0.0.1/"}, "'secret_file' is missing"),
        ({"url": "http://127.0.0.1/", "secret_file": str(tmp_path / "nowhere")}, "No such file"),
        ({"url": "http://127.0.0.1/", "secret_file": str(short)}, "less than 16 bytes"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            Webhook().offset_startup(build_node_access(settings))
