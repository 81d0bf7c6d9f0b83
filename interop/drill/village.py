"""
The village of the drill: Alice, her five friends, a relay and an index server, set up by the commands a person uses.

            bob
             |
    dave - alice - erin        frank also is a friend of carol
           /   \\
       carol   frank

Every node lives in a directory of its own, as ``stmgr setup-node`` makes it. A node of the original has the same files,
except for the database, which its own program makes.
"""

import json
import shutil
import subprocess
import time
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from interop.drill.telling import Log
from interop.load import App
from interop.ports import find_free_port
from interop.programs import OURS, CommandFailed, Implementation, Server, wait_until

__all__ = ["ALICE", "CURRENCY", "FRIENDS", "LIMIT", "Village"]

ALICE: Final = "alice"
FRIENDS: Final = ("bob", "carol", "dave", "erin", "frank")
CURRENCY: Final = "FST"
LIMIT: Final = 100_000
_FRIENDSHIPS: Final = (*((ALICE, friend) for friend in FRIENDS), ("carol", "frank"))

COMMAND_SECONDS: Final = 120.0

ROUTE_SECONDS: Final = 90.0
"""A payment by hand is tried for so long while the index server does not know a route yet."""


class Village:
    """
    Six nodes, and what a person does with them.

    Args:
        directory: All that can be lost, and what is kept in a safe place, which is ``safe``.
        log: Is told of each command.
        original: The original's programs, for the nodes of *players*.
        players: Friends of Alice whose nodes are the original's.
    """

    def __init__(
        self, directory: Path, log: Log, original: Implementation | None = None, players: Collection[str] = ()
    ) -> None:
        self.directory = directory
        self.log = log
        self._original = original
        self.players = frozenset(players)
        self._homes: dict[str, str] = {}
        self._servers: dict[str, Server] = {}
        self._papers = 0
        self.safe.mkdir()

    @property
    def safe(self) -> Path:
        """Where nothing is lost."""
        return self.directory / "safe"

    def home(self, name: str) -> Path:
        """The directory of a node."""
        return self.directory / self._homes.get(name, name)

    def app(self, name: str) -> App:
        """The app of a node, with the files that are there now."""
        return App(self.home(name) / "app.ident", self.home(name) / "node.ticket")

    def move_to(self, name: str, home: str) -> None:
        """A node has another directory from now on."""
        self._homes[name] = home

    # Commands.

    def run(
        self, program: str, *words: object, given: str = "", check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """
        Give a command of ours, with *given* on its standard input, and tell it.

        Raises:
            CommandFailed: *check* is set, and it failed.
        """
        self._start_again()
        started = time.monotonic()
        command = [OURS.program(program), *map(str, words)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, input=given)
        self.log.command([program, *words], time.monotonic() - started)
        if check and result.returncode != 0:
            raise CommandFailed([program, *words], result)
        return result

    def stctrl(self, name: str, *words: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """The same for stctrl at a node."""
        return self.run("stctrl", "-C", self.home(name), *words, check=check)

    def friends(self, name: str) -> dict[str, Any]:
        """The friends of a node by their names there; this is not told."""
        self._start_again()
        listed = json.loads(OURS.run("stctrl", "-C", self.home(name), "info", "friends", "--json").stdout)
        return {friend["name"]: friend for friend in listed}

    def balance(self, name: str, friend: str) -> int | None:
        """What *friend* owes *name*; None while their channel is broken or new."""
        balances = self.friends(name)[friend].get("balances", [])
        return next((int(entry["balance"]) for entry in balances if entry["currency"] == CURRENCY), None)

    # Setting up.

    def set_up(self) -> None:
        """Everything that the drill needs, from nothing."""
        self.run("stmgr", "setup-relay", self.home("relay"), "-a", f"127.0.0.1:{find_free_port()}")
        places = [f"127.0.0.1:{find_free_port()}" for _ in range(2)]
        self.run("stmgr", "setup-index", self.home("index"), "-a", places[0], "--server-address", places[1])
        for name, program in (("relay", "strelay"), ("index", "stindex")):
            self._start(name, [OURS.program(program), "--config", str(self.home(name) / f"{name}.toml")])
        for name in (ALICE, *FRIENDS):
            self.set_up_node(name)
            self.stctrl(name, "friend", "invite", "-o", self.ticket(name))
        for one, other in _FRIENDSHIPS:
            for name, friend in ((one, other), (other, one)):
                terms = ["--name", friend, "--open", CURRENCY, "--limit", LIMIT]
                waits = ["--wait"] if name == other else []
                self.stctrl(name, "friend", "add", self.ticket(friend), *terms, *waits)

    def ticket(self, name: str) -> Path:
        """The friend ticket of a node."""
        return self.directory / f"{name}.friend"

    def set_up_node(self, name: str) -> None:
        """A new node with a new key."""
        servers = ["--relay", self.home("relay") / "relay.ticket", "--index", self.home("index") / "index.ticket"]
        self.run("stmgr", "setup-node", self.home(name), *servers, "-l", f"127.0.0.1:{find_free_port()}")
        if name in self.players:
            self._become_original(name)
        else:
            self.start(name)

    def start(self, name: str) -> None:
        """Run a node of ours, and wait until it listens."""
        config = self.home(name) / "node.toml"
        started = time.monotonic()
        self._start(name, [OURS.program("stnode"), "--config", str(config)])
        self.log.command(["stnode", "--config", config], time.monotonic() - started)

    def _become_original(self, name: str) -> None:
        """The directory is as ours has made it; the database and the servers in it are the original's own."""
        assert self._original is not None
        home = self.home(name)
        (home / "node.db").unlink()
        words = ["-i", home / "node.ident", "-o", home / "node.db"]
        self._original.run("stmgr", "init-node-db", *words)
        laddr = tomllib.loads((home / "node.toml").read_text())["laddr"]
        files = ["-i", home / "node.ident", "-d", home / "node.db", "-t", home / "apps"]
        self._start(name, [self._original.program("stnode"), *map(str, files), "-l", laddr])
        login = ["-I", home / "app.ident", "-T", home / "node.ticket"]
        for kind, option in (("relay", "-r"), ("index", "-i")):
            ticket = self.home(kind) / f"{kind}.ticket"
            self._original.run("stctrl", *login, "config", f"add-{kind}", option, ticket, "-n", kind)
        self.log.note(f"{name} runs the original's node")

    def _start_again(self) -> None:
        """
        As its owner does, start a node of the original that has stopped.

        It stops where a seller cancels an invoice whose transaction went away with a broken channel (D33), and that is
        what the sellers do here whose payments can not end because Alice is away.
        """
        for name in self.players:
            process = self._servers[name].process if name in self._servers else None
            if process is not None and process.poll() is not None:
                log = self._servers[name].log.read_text(errors="replace").splitlines()
                last = [line for line in log if "panicked" in line][-1:] or log[-3:]
                self._servers[name].start()
                self.log.note(f"the original's node of {name} had stopped, and is started again; it had said:")
                self.log.said("\n".join(last))

    def _start(self, name: str, command: list[str]) -> None:
        settings = tomllib.loads(next(self.home(name).glob("*.toml")).read_text())
        address = settings.get("laddr") or settings["lclient"]
        server = Server(name, command, int(address.rpartition(":")[2]), self.directory / f"{name}.log")
        self._servers[name] = server
        server.start()

    # What happens.

    def lose(self, name: str) -> None:
        """kill -9 and rm -r: nothing of the machine is left."""
        self._servers[name].kill()
        shutil.rmtree(self.home(name))
        self.log.note(f"kill -9 of the node of {name}, and its directory is deleted")

    def node_log(self, name: str) -> str:
        """What a node has logged since it was started for the first time."""
        return self._servers[name].log.read_text()

    def pay(self, buyer: str, seller: str, amount: int) -> None:
        """A payment by hand, from the invoice to a receipt that is good."""
        self._papers += 1
        paper = {
            kind: self.directory / f"{self._papers}.{kind}" for kind in ("invoice", "payment", "commit", "receipt")
        }
        self.stctrl(seller, "seller", "create-invoice", "-c", CURRENCY, "-a", amount, "-i", paper["invoice"])
        paying = ["buyer", "pay-invoice", "-i", paper["invoice"], "-p", paper["payment"], "-c", paper["commit"]]
        wait_until("a route", lambda: self._pays(buyer, paying, paper["payment"]), ROUTE_SECONDS)
        self.stctrl(seller, "seller", "commit-invoice", "-i", paper["invoice"], "-c", paper["commit"])
        status = ["buyer", "payment-status", "-p", paper["payment"], "-r", paper["receipt"], "--timeout", 60]
        self.stctrl(buyer, *status)
        self.run("stverify", "verify-receipt", "-i", paper["invoice"], "-r", paper["receipt"])

    def _pays(self, buyer: str, words: list[Any], payment: Path) -> bool:
        result = self.stctrl(buyer, *words, check=False)
        if result.returncode != 0:
            self.log.said(result.stderr)
            payment.unlink(missing_ok=True)
        return result.returncode == 0

    def stop(self) -> None:
        """End every process."""
        for server in self._servers.values():
            server.stop()
