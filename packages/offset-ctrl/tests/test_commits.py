"""Commits of a seller's invoices: who waits for them, and how many are remembered."""

import asyncio

import pytest

from offset_crypto.identity import Identity
from offset_ctrl import PaymentFailed
from offset_ctrl.sdk import commits
from offset_ctrl.sdk.commits import Commits
from offset_ctrl.testing import build_commit
from offset_proto.files import Invoice
from offset_proto.types import Currency, InvoiceId, PrivateKey

SELLER = Identity(PrivateKey(b"\x03" * 32))
IDS = [InvoiceId(bytes([n]) * 32) for n in range(4)]
COMMIT, OTHER = (build_commit(Invoice(IDS[0], Currency("FST"), SELLER.public_key, n), SELLER) for n in (20, 30))


def test_whoever_waits_before_or_after_gets_the_first_commit() -> None:
    """The two parts of a seller's app need not be in step; a second commit of an invoice changes nothing."""

    async def main() -> None:
        known = Commits()
        early = asyncio.create_task(known.wait_for(IDS[0]))
        await asyncio.sleep(0)
        known.accept(IDS[0], COMMIT)
        known.accept(IDS[0], OTHER)
        assert await early == COMMIT
        assert await known.wait_for(IDS[0]) == COMMIT

    asyncio.run(main())


def test_cancelling_ends_the_wait() -> None:
    """Nobody waits for a commit that can not come; cancelling what nobody waits for does nothing."""

    async def main() -> None:
        known = Commits()
        known.cancel(IDS[0])
        waiting = asyncio.create_task(known.wait_for(IDS[0]))
        await asyncio.sleep(0)
        known.cancel(IDS[0])
        with pytest.raises(PaymentFailed, match="cancelled"):
            await waiting

    asyncio.run(main())


def test_beyond_the_limit_the_oldest_that_has_its_commit_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invoice that somebody waits for is kept, however old it is."""
    monkeypatch.setattr(commits, "COMMITS_KEPT_MAX", 3)

    async def main() -> None:
        known = Commits()
        waiting = asyncio.create_task(known.wait_for(IDS[0]))
        await asyncio.sleep(0)
        for invoice_id in IDS[1:]:
            known.accept(invoice_id, COMMIT)
        assert [await known.wait_for(invoice_id) for invoice_id in IDS[2:]] == [COMMIT, COMMIT]
        known.accept(IDS[0], COMMIT)
        assert await waiting == COMMIT
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(known.wait_for(IDS[1]), 0.01)

    asyncio.run(main())


def test_whoever_waits_in_vain_leaves_nothing_behind() -> None:
    """One of two gives up, and the other still gets the commit; when nobody waits any more, nothing is remembered."""

    async def main() -> None:
        known = Commits()
        patient = asyncio.create_task(known.wait_for(IDS[0]))
        for invoice_id in IDS[:2]:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(known.wait_for(invoice_id), 0.01)
        assert list(known._futures) == [IDS[0]]
        known.accept(IDS[0], COMMIT)
        assert await patient == COMMIT
        assert await known.wait_for(IDS[0]) == COMMIT

    asyncio.run(main())
