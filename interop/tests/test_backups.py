"""Backups of nodes that run, by the commands of stmgr: under payments, under kill -9, again and again. Spec 08 §6.6."""

import asyncio
import subprocess
import time
from pathlib import Path
from random import Random

import pytest
from immutables import Map

from interop.load import App, run_payments
from interop.network import Network
from interop.programs import OURS, wait_until
from offset_crypto.identity import Identity
from offset_funder.state import FunderState, fresh_friend
from offset_node.database.sqlite import create_database
from offset_node.state import NodeState
from offset_proto.types import PrivateKey

PAYMENTS = 60
KILLS = 8


def _restore(network: Network, backup: Path, target: Path) -> str:
    return network.run("stmgr", "restore", "-i", backup, "-o", target).stdout


def test_backups_while_payments_pass(chain: Network, tmp_path: Path) -> None:
    """Each is one moment of the node, checked by stmgr when it was made and when it is restored; no payment fails."""
    buyer, seller = (App(chain.path(f"{name}-app.ident"), chain.path(f"{name}.ticket")) for name in ("C", "A"))
    backups: list[Path] = []

    async def back_up_often(payments: "asyncio.Task[object]") -> None:
        while not payments.done() or not backups:
            target = tmp_path / f"{len(backups)}.backup"
            await asyncio.to_thread(chain.run, "stmgr", "backup", "-d", chain.path("B.db"), "-o", target)
            backups.append(target)

    async def run() -> list[object]:
        payments = asyncio.ensure_future(run_payments(buyer, seller, "FST", 7, count=PAYMENTS, at_once=8))
        await back_up_often(payments)
        return list(await payments)

    ended = asyncio.run(run())

    assert len(ended) == PAYMENTS
    assert all(payment.receipt is not None for payment in ended)  # type: ignore[attr-defined]
    for backup in backups:
        assert "friends: 2" in _restore(chain, backup, backup.with_suffix(".db"))
    node = ["-i", chain.path("B.ident"), "-l", "127.0.0.1:0", "-t", chain.path("B-trusted")]
    refused = chain.run("stnode", *node, "-d", backups[-1], check=False)
    assert refused.returncode == 1
    assert "stmgr restore makes a database from it" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of a node with so many friends that a backup of it takes a while."""
    local = Identity(PrivateKey(b"\x01" * 32)).public_key
    chance = Random(1)
    keys = [Identity(PrivateKey(chance.randbytes(32))).public_key for _ in range(1500)]
    friends = {key: fresh_friend(local, key, (), f"friend {number}") for number, key in enumerate(keys)}
    path = tmp_path_factory.mktemp("crowd") / "node.db"
    create_database(path, NodeState(FunderState(local, friends=Map(friends))))
    return path


@pytest.mark.parametrize("options", [[], ["--encrypt"]])
def test_kill_9_leaves_a_whole_backup_or_none(
    crowd: Path, tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it comes: what has the name of the backup can be restored."""
    monkeypatch.setenv("OFFSET_PASSPHRASE", "pass")
    target = tmp_path / "a.backup"
    command = [OURS.program("stmgr"), "backup", "-d", str(crowd), "-o", str(target), *options]
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - started
    target.unlink()
    chance = Random(2)
    whole = killed = 0
    for number in range(KILLS):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0.2, 1.1) * seconds)
            process.kill()
        killed += process.returncode == -9
        if target.exists():
            whole += 1
            restored = tmp_path / f"{number}.db"
            assert "friends: 1500" in OURS.run("stmgr", "restore", "-i", target, "-o", restored).stdout
            target.unlink()
    assert killed > 0
    assert whole < KILLS
    others = [path for path in tmp_path.iterdir() if path.suffix != ".db"]
    assert all(path.name.startswith(".new.") for path in others)
    # Beside the database there may be a copy that had not lost its name yet; nothing is in one before that.
    assert all(path.stat().st_size == 0 for path in crowd.parent.glob(".new.*/*"))


def test_backups_again_and_again(crowd: Path, tmp_path: Path) -> None:
    """The newest stay; a failure is a line, and it goes on; SIGTERM is a success."""
    directory, database = tmp_path / "backups", tmp_path / "node.db"
    directory.mkdir()
    create_database(database, NodeState(FunderState(Identity(PrivateKey(b"\x01" * 32)).public_key)))
    command = ["backup", "-d", database, "--watch", directory, "--keep", 2, "--interval", 0.001]
    words = [OURS.program("stmgr"), *map(str, command)]

    def names() -> list[str]:
        return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))

    log = tmp_path / "log"
    with log.open("w") as output, subprocess.Popen(words, stderr=output) as process:
        try:
            wait_until("two backups", lambda: len(names()) == 2)
            second = names()[1]
            wait_until("both to be replaced", lambda: second not in names() and len(names()) == 2)
            database.rename(tmp_path / "away.db")
            wait_until("a failure", lambda: log.read_text().endswith("\n"))
            newest = names()[-1]
            (tmp_path / "away.db").rename(database)
            wait_until("it to go on", lambda: names()[-1] > newest)
        finally:
            process.terminate()
        assert process.wait(30) == 0
    assert all(f"LoadDbError({database}: no such file)" in line for line in log.read_text().splitlines())
    assert len(names()) == 2
    for name in names():
        OURS.run("stmgr", "restore", "-i", directory / name, "-o", tmp_path / name)


def test_usage(tmp_path: Path) -> None:
    """One target, and a directory that is there."""
    for words in ([], ["-o", tmp_path / "a", "--watch", tmp_path]):
        result = OURS.run("stmgr", "backup", "-d", tmp_path / "node.db", *words, check=False)
        assert result.returncode == 2
        assert "one of --output and --watch" in result.stderr
    result = OURS.run("stmgr", "backup", "-d", tmp_path / "node.db", "--watch", tmp_path / "nowhere", check=False)
    assert result.returncode == 1
    assert "not a directory" in result.stderr
