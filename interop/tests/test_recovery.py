"""Kill -9 of any process in the middle of payments: the network recovers by itself."""

import asyncio
import os
import socket
from pathlib import Path
from random import Random

import pytest

from interop.load import App, Paid, pay_and_kill, run_payments
from interop.network import Cast, Network
from interop.programs import wait_until
from interop.ready import OURS_READY
from offset_crypto.aio import ConnectFailed, Ticker, connect
from offset_crypto.identity import Identity
from offset_proto.files import TICKET
from offset_proto.types import PrivateKey

STRANGER = Identity(PrivateKey(b"\x07" * 32))
COUNT = 50
KILLED_AFTER = 10


def _is_settled(network: Network) -> bool:
    """Nothing is frozen anywhere, and each balance is the negation of the one on the other side."""
    for one, other in (("A", "B"), ("B", "C")):
        first, second = network.balance(one, other, "FST"), network.balance(other, one, "FST")
        if first["balance"] != -second["balance"]:
            return False
        if any(side[debt] for side in (first, second) for debt in ("local_pending_debt", "remote_pending_debt")):
            return False
    return True


@pytest.mark.parametrize("victim", ["relay0", "relay1", "index0", "index1", "A", "B", "C"])
def test_payments_survive_a_kill(chain: Network, victim: str) -> None:
    """Each payment ends as paid or cancelled, each receipt verifies, balances mirror, B keeps its fees."""
    before = chain.balance("B", "C", "FST")["balance"], chain.balance("A", "B", "FST")["balance"]

    ended = asyncio.run(
        pay_and_kill(chain, victim, "FST", 7, buyer="C", seller="A", count=COUNT, killed_after=KILLED_AFTER)
    )

    assert len(ended) == COUNT
    wait_until("all credits to be settled", lambda: _is_settled(chain), 60)
    paid = sum(1 for payment in ended if payment.receipt is not None)
    assert paid >= KILLED_AFTER
    assert before[1] + 7 * paid == chain.balance("A", "B", "FST")["balance"]
    assert before[0] + 8 * paid == chain.balance("B", "C", "FST")["balance"]


KILLS = 10


async def _pay_and_kill_often(network: Network, chance: Random) -> list[Paid]:
    buyer, seller = (App(network.path(f"{name}-app.ident"), network.path(f"{name}.ticket")) for name in ("C", "A"))
    payments = asyncio.ensure_future(run_payments(buyer, seller, "FST", 7, count=150, at_once=8))
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.2, 1.0))
        server = network.servers[chance.choice(["A", "B", "C"])]
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    async with asyncio.timeout(180):
        return await payments


def test_payments_survive_many_kills(chain: Network) -> None:
    """Nodes are killed at random moments, often while they write: nothing is lost, no channel breaks."""
    seed = int.from_bytes(os.urandom(4), "big")
    before = chain.balance("B", "C", "FST")["balance"], chain.balance("A", "B", "FST")["balance"]
    ended = asyncio.run(_pay_and_kill_often(chain, Random(seed)))
    wait_until("all credits to be settled", lambda: _is_settled(chain), 60)
    paid = sum(1 for payment in ended if payment.receipt is not None)
    assert len(ended) == 150, f"seed {seed}"
    assert before[1] + 7 * paid == chain.balance("A", "B", "FST")["balance"], f"seed {seed}"
    assert before[0] + 8 * paid == chain.balance("B", "C", "FST")["balance"], f"seed {seed}"


def test_a_full_disk(chain: Network) -> None:
    """A node that can not store ends with an error that names the database; given room, it goes on where it was."""
    server = chain.servers["B"]
    server.stop()
    database = Path(server.command[server.command.index("-d") + 1])
    room = database.stat().st_size // 1024 + 40  # KiB, for the database and for its log alike
    command, server.command = server.command, ["bash", "-c", f'ulimit -f {room}; exec "$0" "$@"', *server.command]
    server.start()
    assert server.process is not None
    for number in range(40):
        if server.process.poll() is not None:
            break
        invoice = chain.path(f"full{number}.invoice")
        chain.stctrl("B", "seller", "create-invoice", "-c", "FST", "-a", 1, "-i", invoice, check=False)
    assert server.process.wait(30) == 1
    last = server.log.read_text().splitlines()[-1]
    assert f"DatabaseError({database}" in last
    server.command = command
    server.start()
    chain.wait_until_back("B")
    assert chain.pay("C", "A", "FST", 5, "room-again") == "Receipt is valid!"
    wait_until("all credits to be settled", lambda: _is_settled(chain), 60)


def test_files_in_the_way_of_the_database(chain: Network) -> None:
    """SQLite can not open its log, or we not our lock: the node says which file, and ends."""
    server = chain.servers["B"]
    server.stop()
    database = Path(server.command[server.command.index("-d") + 1])
    for suffix in ("-wal", ".lock"):
        path = database.with_name(database.name + suffix)
        path.unlink(missing_ok=True)
        path.mkdir()
        with pytest.raises(RuntimeError, match="LoadDbError"):
            server.start()
        path.rmdir()
    server.start()
    chain.wait_until_back("B")
    assert chain.pay("C", "A", "FST", 5, "out-of-the-way") == "Receipt is valid!"


def test_a_relay_without_descriptors(tmp_path: Path) -> None:
    """D3: where accepting fails, a server goes on as soon as it can accept again."""
    with Network(tmp_path, Cast(OURS_READY)) as network:
        network.add_relay("relay")
        server = network.servers["relay"]
        server.stop()
        server.command = ["bash", "-c", 'ulimit -n 40; exec "$0" "$@"', *server.command]
        server.start()
        for _ in range(2):
            crowd = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(100)]
            for one in crowd:
                one.close()
        ticket = TICKET.load(network.path("relay.ticket"))

        async def connects() -> bool:
            try:
                connection = await connect(ticket.address, STRANGER, ticket.public_key, Ticker())
            except ConnectFailed:
                return False
            connection.close()
            await asyncio.sleep(0)
            return True

        wait_until("the relay to serve again", lambda: asyncio.run(connects()), 40)
        assert server.process is not None
        assert server.process.poll() is None
