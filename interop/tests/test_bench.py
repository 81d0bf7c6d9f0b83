"""The driver of the figures, and that nothing is switched off while it measures."""

import asyncio
import os
from pathlib import Path

from bench.payments import CURRENCY, LIMIT, PaymentRun, build_chain, login, public_key, run_payments
from interop.network import Network
from offset_crypto.aio import ConnectFailed, Connection, Ticker, connect
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import open_node
from offset_proto.files import TICKET
from offset_proto.messages.app import CreatePayment, CreateTransaction, Failure, TransactionResult
from offset_proto.messages.friend import FriendsRoute
from offset_proto.types import InvoiceId, PaymentId, PrivateKey, Signature, Uid

PAYMENTS = 500


class _Forger(Identity):
    """Says that it has a key, and can not sign with it."""

    def sign(self, message: bytes) -> Signature:
        signature = super().sign(message)
        return Signature(bytes([signature[0] ^ 1]) + signature[1:])


class _Ended:
    """Waits for the end of a connection."""

    def __init__(self, connection: Connection) -> None:
        self.event = asyncio.Event()
        connection.attach(self)

    def message_received(self, message: bytes) -> None:
        """Nothing is expected."""

    def connection_closed(self) -> None:
        """The end."""
        self.event.set()


async def _forge(network: Network, name: str, ticker: Ticker) -> None:
    """Connect to a node with a signature that proves nothing; returns when the node has refused it."""
    address = TICKET.load(network.path(f"{name}.ticket")).address
    try:
        forged = await connect(address, _Forger(PrivateKey(bytes(32))), public_key(network, name), ticker)
    except ConnectFailed:
        return
    async with asyncio.timeout(10):  # our end has checked the node, and does not know yet that the node has checked us
        await _Ended(forged).event.wait()


async def _overdraw(network: Network, names: list[str], ticker: Ticker) -> None:
    """Try to pay more than there is credit for."""
    buyer, seller = names
    seller_key = public_key(network, seller)
    route = FriendsRoute((public_key(network, buyer), seller_key))
    payment_id, amount = PaymentId(os.urandom(16)), 2 * LIMIT
    results: asyncio.Queue[TransactionResult] = asyncio.Queue()
    async with open_node(*login(network, buyer), ticker) as app:
        await app.request(CreatePayment(payment_id, InvoiceId(os.urandom(32)), CURRENCY, amount, seller_key))
        app.start_transaction(CreateTransaction(payment_id, Uid(os.urandom(16)), route, amount, 0), results)
        async with asyncio.timeout(30):
            assert isinstance((await results.get()).result, Failure)


async def _measure(network: Network, names: list[str]) -> tuple[PaymentRun, int]:
    """Measure, and count how often everything that must be refused was refused meanwhile."""
    refused = 0

    async def attack() -> None:
        nonlocal refused
        ticker = Ticker()
        while True:
            for name in names:
                await _forge(network, name, ticker)
            await _overdraw(network, names, ticker)
            refused += 1

    attacking = asyncio.ensure_future(attack())
    run = await run_payments(network, names, count=PAYMENTS, in_flight=10)
    assert not attacking.done()
    attacking.cancel()
    return run, refused


def test_guards_stay_on_while_payments_are_measured(tmp_path: Path) -> None:
    """Signatures and credit are checked, and what was acknowledged is there after kill -9."""
    with Network(tmp_path) as network:
        names = build_chain(network, 2)
        run, refused = asyncio.run(_measure(network, names))
        assert len(run.latencies_seconds) == PAYMENTS
        assert refused > 0
        for name in names:
            network.servers[name].kill()
        for name in names:
            network.servers[name].start()
        network.wait_until_back(names[0])
        buyer, seller = names
        assert network.balance(seller, buyer, CURRENCY)["balance"] == PAYMENTS
        assert network.balance(buyer, seller, CURRENCY)["balance"] == -PAYMENTS
