"""A commit that is delivered to the address of a payment request. Spec 13 §7."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from offset_crypto.identity import Identity
from offset_ctrl import DeliveryFailed, deliver_commit, deliver_to
from offset_ctrl.sdk import delivery
from offset_ctrl.testing import build_commit
from offset_proto.errors import InvalidInput
from offset_proto.files import COMMIT, Invoice
from offset_proto.types import Currency, InvoiceId, PrivateKey

SELLER = Identity(PrivateKey(b"\x03" * 32))
BILL = Invoice(InvoiceId(b"\x07" * 32), Currency("FST"), SELLER.public_key, 20)
PAID = build_commit(BILL, SELLER)
GOOD = (200, "{}")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(delivery, "ATTEMPT_SECONDS", 0.3)


class Program:
    """A seller's program that gives the answers of a list in turn; None: it says nothing. The last one goes on."""

    def __init__(self, *answers: tuple[int, str] | None) -> None:
        self.answers = list(answers)
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"POST /api/v1/commits HTTP/1.1\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.heard.append(await reader.readexactly(length))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.sleep(10)
        else:
            status, body = answer
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())


Deliver = Callable[..., None]


@pytest.fixture
def deliver(listen: Any) -> Deliver:
    """Delivers the commit to a program."""

    async def main(program: Program, seconds: float) -> None:
        async with asyncio.timeout(20), listen(program.serve) as port:
            await deliver_commit(f"http://127.0.0.1:{port}/api/v1/commits", PAID, seconds)

    return lambda program, seconds=10.0: asyncio.run(main(program, seconds))


@contextmanager
def _fails(*, is_refused: bool, reason: str) -> Iterator[None]:
    with pytest.raises(DeliveryFailed, match=reason) as failure:
        yield
    assert failure.value.is_refused == is_refused


@pytest.mark.parametrize("first", [(503, ""), (429, ""), (408, ""), (425, ""), (500, "[]"), None], ids=str)
def test_what_may_help_is_tried_again(deliver: Deliver, first: tuple[int, str] | None) -> None:
    """The same commit, until it is taken."""
    program = Program(first, first, GOOD)
    deliver(program)
    assert [COMMIT.parse(body.decode()) for body in program.heard] == [PAID] * 3


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, '{"title": "UnknownInvoice", "detail": "no such invoice"}', "has answered 404: no such invoice$"),
        (409, '{"detail": "\\u001b[2J"}', "has answered 409$"),
        (400, '{"detail": 7}', "has answered 400$"),
        (301, "", "has answered 301$"),
        (404, "[" * 5000, "has answered 404$"),
    ],
)
def test_a_refusal_is_final(deliver: Deliver, status: int, body: str, reason: str) -> None:
    """The seller's words are told where they are fit to be printed."""
    program = Program((status, body))
    with _fails(is_refused=True, reason=reason):
        deliver(program)
    assert len(program.heard) == 1


def test_it_ends_after_its_time(deliver: Deliver) -> None:
    """And says what the last attempt came to."""
    program = Program((503, ""))
    with _fails(is_refused=False, reason=r"not within 0\.5 seconds: .* has answered 503"):
        deliver(program, 0.5)
    assert len(program.heard) > 1


@pytest.mark.parametrize("address", ["http://example.org/api/v1/commits", "file:///etc/passwd", "https://a@b/"])
def test_addresses_to_which_nothing_is_sent(address: str) -> None:
    """It is said before anything is paid."""
    with pytest.raises(InvalidInput, match="the delivery address"):
        deliver_to(address)
