"""
A network of real processes on loopback, driven by the command-line programs alone.

`Network` makes keys, tickets and databases with stmgr in one directory, starts the servers, and runs stctrl
and stverify; a cast says which implementation plays which role. Nothing listens beyond 127.0.0.1.
"""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from interop.ports import find_free_port
from interop.programs import OURS, CommandFailed, Implementation, Server, wait_until
from interop.ready import OURS_READY

__all__ = ["Cast", "Network", "NodeSpec"]


@dataclass(frozen=True)
class Cast:
    """
    Which implementation plays which role.

    Attributes:
        default: Who plays every role that is not named.
        roles: By name of a server ("relay0", "B"), of a node's app ("B.stctrl"), or "stmgr", "stverify".
    """

    default: Implementation = OURS
    roles: dict[str, Implementation] = field(default_factory=dict)

    def of(self, role: str) -> Implementation:
        """Who plays *role*."""
        return self.roles.get(role, self.default)


class Tap(Protocol):
    """Stands before the servers of a network."""

    def tap(self, kind: str, identity: Path, port: int) -> int:
        """Stand before a server that listens at *port*; the port that its clients are to be told."""


def _is_active(friend: dict[str, Any], currency: str) -> bool:
    return any(entry["currency"] == currency for entry in friend.get("balances", []))


@dataclass(frozen=True)
class NodeSpec:
    """A node of the network: its relay, its index server, further options of stnode, a database that is no file."""

    name: str
    relay: str
    index: str
    options: tuple[str, ...] = ()
    database: str | None = None


@dataclass
class Network:
    """
    Relays, index servers and nodes in one directory.

    Attributes:
        directory: All files of the network; must be empty.
        cast: Who plays which role.
        recorder: Stands before each server, where given: writes down what passes, or counts it.
        domain: Relays and index servers are told to others by names under it, where given, and not by a number; a proxy
            must know them.
        patience: Seconds after which waiting for something that the nodes report is given up.
        options: Further options of a server, by its name.
    """

    directory: Path
    cast: Cast = field(default_factory=Cast)
    recorder: Tap | None = None
    servers: dict[str, Server] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    patience: float = 60.0
    domain: str | None = None
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # Programs.

    def run(self, program: str, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end; raises CommandFailed where *check* is set and it failed."""
        return self.cast.of(program).run(program, *arguments, check=check)

    def stctrl(self, node: str, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run stctrl as the app of *node*."""
        return self.cast.of(f"{node}.stctrl").run("stctrl", *self.login(node), *arguments, check=check)

    def login(self, node: str) -> list[str]:
        """Options -I and -T of the app of *node*."""
        app = self.directory / f"{node}-app.ident"
        return ["-I", str(app), "-T", str(self.directory / f"{node}.ticket")]

    def friends(self, node: str) -> dict[str, Any]:
        """Friends of a node by name, as our ``info friends --json`` gives them, whoever plays the node."""
        listed = json.loads(OURS_READY.run("stctrl", *self.login(node), "info", "friends", "--json").stdout)
        return {friend["name"]: friend for friend in listed}

    def balance(self, node: str, friend: str, currency: str) -> dict[str, int]:
        """Balance and pending debts of a node with a friend."""
        balances = self.friends(node)[friend]["balances"]
        found = next(entry for entry in balances if entry["currency"] == currency)
        return {key: int(value) for key, value in found.items() if key != "currency"}

    # Set-up.

    def path(self, name: str) -> Path:
        """A file of the network."""
        return self.directory / name

    def identity(self, name: str) -> Path:
        """The identity file of a server or app; made where there is none."""
        path = self.path(f"{name}.ident")
        if not path.exists():
            self.run("stmgr", "gen-ident", "-o", path)
        return path

    def add_relay(self, name: str) -> None:
        """Make and start a relay."""
        port, identity = self._free_port(name), self.identity(name)
        address = self._public_address("relay", name, port)
        self.run("stmgr", "relay-ticket", "-i", identity, "-a", address, "-o", self.path(f"{name}.ticket"))
        self._start(name, port, "strelay", "-i", identity, "-l", f"127.0.0.1:{port}")

    def add_index_servers(
        self, names: list[str], trust: list[tuple[str, str]] | None = None, options: tuple[str, ...] = ()
    ) -> None:
        """
        Make and start index servers.

        Args:
            names: Of the servers.
            trust: Pairs that trust each other; all of them where not given.
            options: Further ones of stindex.
        """
        pairs = trust if trust is not None else [(a, b) for a in names for b in names if a < b]
        for name in names:
            self.path(f"{name}-trusted").mkdir()
        for name in names:
            self._make_index_tickets(name, {a if b == name else b for a, b in pairs if name in (a, b)})
        for name in names:
            client, server = self.ports[f"{name}-client"], self.ports[f"{name}-server"]
            listen = ["-c", f"127.0.0.1:{client}", "-s", f"127.0.0.1:{server}"]
            trusted = ["-t", self.path(f"{name}-trusted")]
            self._start(name, client, "stindex", "-i", self.identity(name), *listen, *trusted, *options)

    def _make_index_tickets(self, name: str, trusted_by: set[str]) -> None:
        identity = self.identity(name)
        client, server = self._free_port(f"{name}-client"), self._free_port(f"{name}-server")
        address = self._public_address("index-client", name, client)
        self.run("stmgr", "index-ticket", "-i", identity, "-a", address, "-o", self.path(f"{name}.ticket"))
        address = self._public_address("index-server", name, server)
        for other in trusted_by:
            ticket = self.path(f"{other}-trusted") / f"{name}.ticket"
            self.run("stmgr", "index-ticket", "-i", identity, "-a", address, "-o", ticket)

    def add_node(self, spec: NodeSpec) -> None:
        """Make and start a node with one app that may do everything; configure its relay and index server."""
        self.start_node(spec)
        self.stctrl(spec.name, "config", "add-relay", "-r", self.path(f"{spec.relay}.ticket"), "-n", spec.relay)
        self.stctrl(spec.name, "config", "add-index", "-i", self.path(f"{spec.index}.ticket"), "-n", spec.index)

    def start_node(self, spec: NodeSpec) -> None:
        """The same, with nothing configured."""
        name, port = spec.name, self._free_port(spec.name)
        identity, app = self.identity(name), self.identity(f"{name}-app")
        trusted = self.path(f"{name}-trusted")
        trusted.mkdir()
        player = self.cast.of(name)  # its database is of its own kind
        place = spec.database or self.path(f"{name}.db")
        player.run("stmgr", "init-node-db", "-i", identity, "-o", place)
        address = self._public_address("app", name, port)
        self.run("stmgr", "node-ticket", "-i", identity, "-a", address, "-o", self.path(f"{name}.ticket"))
        permissions = ["--proutes", "--pbuyer", "--pseller", "--pconfig"]
        self.run("stmgr", "app-ticket", "-i", app, "-o", trusted / "app.ticket", *permissions)
        database = ["-d", place, "-t", trusted]
        self._start(name, port, "stnode", "-i", identity, "-l", f"127.0.0.1:{port}", *database, *spec.options)

    def add_app(self, node: str, app: str, *permissions: str) -> list[object]:
        """
        Trust one more app of a node.

        Args:
            node: The node.
            app: Name of the app; its identity is made where there is none.
            permissions: Of its ticket, as options: ``--pbuyer``.

        Returns:
            Options -I and -T of the app.
        """
        identity = self.identity(app)
        ticket = self.path(f"{node}-trusted") / f"{app}.ticket"
        self.run("stmgr", "app-ticket", "-i", identity, "-o", ticket, *permissions)
        return ["-I", identity, "-T", self.path(f"{node}.ticket")]

    def replace_node(self, name: str, player: Implementation, database: Path) -> None:
        """Start a node that was stopped again, played by another implementation, on another database."""
        server = self.servers[name]
        command = [player.program("stnode"), *server.command[1:]]
        command[command.index("-d") + 1] = str(database)
        server.command = command
        self.cast.roles[name] = player
        server.start()

    def _start(self, name: str, port: int, program: str, *arguments: object) -> None:
        command = [self.cast.of(name).program(program), *map(str, arguments), *self.options.get(name, ())]
        server = self.servers[name] = Server(name, command, port, self.path(f"{name}.log"))
        server.start()

    def _free_port(self, name: str) -> int:
        self.ports[name] = find_free_port()
        return self.ports[name]

    def _public_address(self, kind: str, name: str, port: int) -> str:
        """Where others reach a server: at the recorder, where there is one; by a name, where there is a domain."""
        if self.recorder is not None:
            port = self.recorder.tap(kind, self.identity(name), port)
        if self.domain is not None and kind != "app":
            return f"{name}.{self.domain}:{port}"
        return f"127.0.0.1:{port}"

    # Friends and payments.

    def befriend(self, first: str, second: str, currency: str, *, rates: tuple[int, int] = (0, 0)) -> None:
        """
        Make two nodes friends that trade *currency*, and wait until they are ready.

        Args:
            first: A node.
            second: Another one.
            currency: Opened on both sides.
            rates: Flat fee in credits that the first charges the second for forwarding, and the other way round.
        """
        for node, other in ((first, second), (second, first)):
            if other not in self.friends(node):
                ticket = self.path(f"{other}.friend")
                if not ticket.exists():
                    self.stctrl(other, "info", "export-ticket", "-t", ticket)
                self.stctrl(node, "config", "add-friend", "-f", ticket, "-n", other)
                self.stctrl(node, "config", "enable-friend", "-n", other)
        for (node, other), add in zip(((first, second), (second, first)), rates, strict=True):
            name = ["-n", other, "-c", currency]
            self.stctrl(node, "config", "set-currency-rate", *name, "-m", 0, "-a", add)
        for node, other in ((first, second), (second, first)):
            self.wait_for(f"{node} and {other} to be online", node, other, lambda friend: bool(friend["online"]))
            self.wait_for(f"{currency} to be active", node, other, lambda friend: _is_active(friend, currency))
            self.stctrl(node, "config", "open-currency", "-n", other, "-c", currency)

    def wait_for(self, what: str, node: str, friend: str, is_so: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until it is so of *node*'s view of *friend*. Raises TimeoutError."""
        wait_until(what, lambda: is_so(self.friends(node)[friend]), self.patience)

    def wait_until_back(self, node: str) -> None:
        """Wait until all friends of a node that was started again see it online. Raises TimeoutError."""
        for friend in self.friends(node):
            self.wait_for(f"{node} to be back", friend, node, lambda found: bool(found["online"]))

    def set_limit(self, node: str, friend: str, currency: str, amount: int) -> None:
        """How much *friend* may owe *node*."""
        self.stctrl(node, "config", "set-currency-max-debt", "-n", friend, "-c", currency, "-m", amount)

    def pay(self, buyer: str, seller: str, currency: str, amount: int, label: str) -> str:
        """
        A payment from invoice to acknowledged receipt.

        Returns:
            What stverify said of the receipt.
        """
        invoice, payment = self.path(f"{label}.invoice"), self.path(f"{label}.payment")
        commit, receipt = self.path(f"{label}.commit"), self.path(f"{label}.receipt")
        self.stctrl(seller, "seller", "create-invoice", "-c", currency, "-a", amount, "-i", invoice)
        self.pay_invoice(buyer, invoice, payment, commit)
        self.stctrl(seller, "seller", "commit-invoice", "-i", invoice, "-c", commit)
        self.wait_for_receipt(buyer, payment, receipt)
        return self.run("stverify", "verify-receipt", "-i", invoice, "-r", receipt).stdout.strip()

    def wait_for_receipt(self, buyer: str, payment: Path, receipt: Path) -> None:
        """Ask for the receipt until it is there."""

        def is_there() -> bool:
            # A status of its own says that the payment has no end yet.
            self.stctrl(buyer, "buyer", "payment-status", "-p", payment, "-r", receipt, check=False)
            return receipt.exists()

        wait_until("the receipt", is_there, 30)

    def pay_invoice(self, buyer: str, invoice: Path, payment: Path, commit: Path) -> str:
        """Pay, asking again while the index servers do not know a route yet."""
        end = time.monotonic() + 60
        arguments = ["buyer", "pay-invoice", "-i", invoice, "-p", payment, "-c", commit]
        while True:
            result = self.stctrl(buyer, *arguments, check=False)
            no_route = "NoSuitableRoute" in result.stderr or "AppRoutesError" in result.stderr
            if result.returncode == 0:
                return result.stdout
            if not no_route or time.monotonic() > end:
                raise CommandFailed(["stctrl", buyer, *arguments], result)
            payment.unlink(missing_ok=True)  # the original leaves it
            time.sleep(0.3)

    def stop(self) -> None:
        """End every process."""
        for server in self.servers.values():
            if server.process is not None and server.process.poll() is None:
                server.process.terminate()
        for server in self.servers.values():
            server.stop()
