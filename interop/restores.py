"""
A node that is killed at random moments and restored from backups of random ages, while payments pass through it.

    python -m interop.restores [--count N] [--seed S]

B, between A and C, is backed up now and then, every second time under a passphrase. Again and again it is killed, and
goes on from any of the last backups, or with nothing but its key and a contact list; often it is killed once more
before all friends have spoken. Then the terms that the friends ask for are accepted, and a payment passes through B.

A recorder reads along on all links, so it has each token that any friend ever saw. Afterwards `observe` goes through
what it has written: no token has two successors. Balances are the same on both sides in the end.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import click

from interop.by_hand import run_by_hand
from interop.drill.payments import Payments
from interop.load import App, pay_once
from interop.network import Network, NodeSpec
from interop.programs import CommandFailed, wait_until
from interop.recorder import Recorder
from offset_ctrl import PayOptions, RequestRefused, connect
from offset_funder.invariants import SeenTokens
from offset_proto import wire
from offset_proto.errors import InvariantBroken, OffsetError
from offset_proto.types import PublicKey

__all__ = ["Restores", "main", "observe"]

CURRENCY: Final = "FST"
PATIENCE: Final = 150.0
WAYS: Final = (("C", "A"), ("B", "C"), ("A", "B"))
_QUICK: Final = PayOptions(timeout=6.0, route_seconds=4.0)


def observe(records: Path) -> int:
    """
    Go through all that passed between friends.

    A recorder has a message before the friend has it. So the last one that each end of a link has sent is left out: the
    link may have been lost in between.

    Args:
        records: What a `Recorder` has written.

    Returns:
        The number of tokens that a friend has seen.

    Raises:
        InvariantBroken: One of them has two successors.
    """
    seen = SeenTokens()
    for path in sorted(records.glob("*-friend-*.jsonl")):
        head, *lines = map(json.loads, path.read_text().splitlines())
        keys = {end: PublicKey.fromhex(head[end]["publicKey"]) for end in ("client", "server")}
        for sender, receiver in (("client", "server"), ("server", "client")):
            for line in [line for line in lines if line["sender"] == sender][:-1]:
                message = wire.FRIEND_MESSAGE.decode(bytes.fromhex(line["bytes"]))
                seen.see(keys[sender], keys[receiver], message)
    return seen.tokens


@dataclass
class Restores:
    """
    A chain A - B - C whose B is lost again and again.

    Attributes:
        network: The chain; a recorder stands before its servers.
        chance: When something happens, and what.
        tell: Is told of each restore.
        done: How many restores were from a backup, from the key alone, or again before the friends had spoken, and how
            many channels were reset.
    """

    network: Network
    chance: Random
    tell: Callable[[str], object] = lambda text: None
    done: Counter[str] = field(default_factory=Counter)
    _backups: list[tuple[float, Path]] = field(default_factory=list)
    _databases: int = 0

    def set_up(self) -> None:
        """The chain, from nothing."""
        self.network.add_relay("relay")
        self.network.add_index_servers(["index"])
        for name in "ABC":
            self.network.add_node(NodeSpec(name, "relay", "index"))
        for one, other in ("AB", "BC"):
            self.network.befriend(one, other, CURRENCY)
            for name, friend in ((one, other), (other, one)):
                self.network.set_limit(name, friend, CURRENCY, 1_000_000)
        self.network.path("passphrase").write_text("passphrase")
        self.network.run("stmgr", "contacts", "-d", self._database(), "-o", self.network.path("B.contacts"))

    def run(self, count: int) -> None:
        """
        Restore B so many times, under load.

        Raises:
            TimeoutError: Friends did not come back, or in the end both sides of a friendship do not say the same.
        """
        payments = Payments(WAYS, self._app, CURRENCY)
        payments.start()
        try:
            while self.done["backup"] + self.done["key"] + self.done["again"] < count:
                self._lose_and_restore()
        finally:
            payments.stop()
        wait_until("both sides to say the same", self._is_mirrored, PATIENCE)
        self.done["payments"] = payments.ended["paid"]

    # One restore.

    def _lose_and_restore(self) -> None:
        if not self._backups or self.chance.random() < 0.6:
            backup = self.network.path(f"{len(self._backups)}.backup")
            lock = ["--encrypt", *self._passphrase()] if len(self._backups) % 2 else []
            self.network.run("stmgr", "backup", "-d", self._database(), "-o", backup, *lock)
            self._backups.append((time.monotonic(), backup))
        time.sleep(self.chance.uniform(0.0, 3.0))
        self.network.servers["B"].kill()
        has_backup = self.chance.random() < 0.8
        taken, backup = self.chance.choice(self._backups[-4:])
        how = self._restore(backup if has_backup else None, "backup" if has_backup else "key")
        if self.chance.random() < 0.5:
            time.sleep(self.chance.uniform(0.0, 1.5))
            self.network.servers["B"].kill()
            if has_backup and self.chance.random() < 0.5:
                how += ", " + self._restore(backup, "again")
            else:
                self.network.servers["B"].start()
                how += ", killed and started"
        if not has_backup:
            words = ["recover", self.network.path("B.contacts"), "--accept", "all", "--timeout", 80]
            self.network.stctrl("B", *words)
        resets = asyncio.run(self._bring_back())
        self.done["resets"] += resets
        age = f"backup of {time.monotonic() - taken:.0f} s ago" if has_backup else "nothing but the key"
        self.tell(f"{age}: {how}; {resets} channels reset by hand, payments pass")

    def _restore(self, backup: Path | None, how: str) -> str:
        """Let B, which is down, run on a new database; from nothing but the key where there is no backup."""
        self._databases += 1
        target = self.network.path(f"B-{self._databases}.db")
        if backup is None:
            identity = self.network.path("B.ident")
            self.network.run("stmgr", "init-node-db", "-i", identity, "-o", target, "--recover")
        else:
            self.network.run("stmgr", "restore", "-i", backup, "-o", target, *self._passphrase())
        server = self.network.servers["B"]
        server.command[server.command.index("-d") + 1] = str(target)
        server.start()
        self.done[how] += 1
        return f"restored ({how})"

    async def _bring_back(self) -> int:
        """Accept whatever terms come, until a payment passes from C through B to A; the number of resets."""
        resets = 0
        a, b, c = (self._app(name) for name in "ABC")
        async with (
            asyncio.timeout(PATIENCE),
            connect(b.ticket_path, b.identity_path) as node,
            connect(a.ticket_path, a.identity_path) as seller,
            connect(c.ticket_path, c.identity_path) as buyer,
        ):
            while True:
                for friend in "AC":
                    with contextlib.suppress(RequestRefused):
                        await node.reset_channel(friend)
                        resets += 1
                await asyncio.sleep(0.3)
                with contextlib.suppress(TimeoutError, OffsetError):
                    async with asyncio.timeout(2 * _QUICK.route_seconds + 2):
                        if (await pay_once(buyer, seller, CURRENCY, 1, _QUICK)).receipt is not None:
                            return resets

    # What there is.

    def _app(self, name: str) -> App:
        return App(self.network.path(f"{name}-app.ident"), self.network.path(f"{name}.ticket"))

    def _passphrase(self) -> list[object]:
        return ["--passphrase-file", self.network.path("passphrase")]

    def _database(self) -> Path:
        command = self.network.servers["B"].command
        return Path(command[command.index("-d") + 1])

    def _is_mirrored(self) -> bool:
        def balance(name: str, friend: str) -> int:
            return self.network.balance(name, friend, CURRENCY)["balance"]

        return all(balance(one, other) == -balance(other, one) for one, other in ("AB", "BC"))


@click.command()
@click.option("--count", default=20, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=None, type=int, help="Of the moments and the choices.")
def _restores(count: int, seed: int | None) -> None:
    """Kill and restore a node at random moments, and look at every token that its friends saw."""
    chance = Random(seed)
    with tempfile.TemporaryDirectory(prefix="offset-restores-") as name:
        directory = Path(name)
        recorder = Recorder(directory / "records", directory)
        try:
            with Network(directory, recorder=recorder) as network:
                restores = Restores(network, chance, click.echo)
                restores.set_up()
                restores.run(count)
        finally:
            recorder.close()
        tokens = observe(directory / "records")
    done = ", ".join(f"{how}: {number}" for how, number in sorted(restores.done.items()))
    click.echo(f"{done}; {tokens} tokens seen, none of them with two successors")


def main() -> int:
    """Run it; the exit status tells whether all was well."""
    return run_by_hand(_restores, CommandFailed, InvariantBroken, TimeoutError, RuntimeError)


if __name__ == "__main__":
    sys.exit(main())
