"""
A network of real processes on loopback, driven by the command-line programs alone.

`Network` makes keys, tickets and databases with stmgr in one directory, starts the servers, and runs stctrl
and stverify. Every process that it starts ends with it, by process id; nothing listens beyond 127.0.0.1.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CommandFailed", "Network", "NodeSpec", "Server", "wait_until"]

STOP_SECONDS = 10.0
COMMAND_SECONDS = 90.0


class CommandFailed(Exception):
    """A program did not do what it was asked to."""

    def __init__(self, arguments: Iterable[object], result: "subprocess.CompletedProcess[str]") -> None:
        self.result = result
        words = " ".join(map(str, arguments))
        super().__init__(f"{words}: exit status {result.returncode}: {result.stderr.strip()}")


def wait_until(what: str, is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Ask again and again until it is so. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for: {what}")
        time.sleep(0.1)


def _program(name: str) -> str:
    """The program of this environment."""
    return str(Path(sys.executable).parent / name)


@dataclass
class Server:
    """A server process and the command that starts it."""

    name: str
    command: list[str]
    port: int
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(f"{self.name} to listen", self._listens_or_died, 30)
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text()[-500:]}")

    def _listens_or_died(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            return True
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _is_active(friend: dict[str, Any], currency: str) -> bool:
    return any(entry["currency"] == currency for entry in friend.get("balances", []))


@dataclass(frozen=True)
class NodeSpec:
    """A node of the network: its relay and its index server."""

    name: str
    relay: str
    index: str


@dataclass
class Network:
    """
    Relays, index servers and nodes in one directory.

    Attributes:
        directory: All files of the network; must be empty.
    """

    directory: Path
    servers: dict[str, Server] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # Programs.

    def run(self, program: str, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end; raises CommandFailed where *check* is set and it failed."""
        words = [_program(program), *map(str, arguments)]
        result = subprocess.run(
            words, capture_output=True, text=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL
        )
        if check and result.returncode != 0:
            raise CommandFailed([program, *arguments], result)
        return result

    def stctrl(self, node: str, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run stctrl as the app of *node*."""
        return self.run("stctrl", *self.login(node), *arguments, check=check)

    def login(self, node: str) -> list[str]:
        """Options -I and -T of the app of *node*."""
        app = self.directory / f"{node}-app.ident"
        return ["-I", str(app), "-T", str(self.directory / f"{node}.ticket")]

    def friends(self, node: str) -> dict[str, Any]:
        """Friends of a node by name, as ``info friends --json`` gives them."""
        listed = json.loads(self.stctrl(node, "info", "friends", "--json").stdout)
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

    def add_relay(self, name: str) -> None:
        """Make and start a relay."""
        port = self._free_port(name)
        self.run("stmgr", "gen-ident", "-o", self.path(f"{name}.ident"))
        address = f"127.0.0.1:{port}"
        self.run(
            "stmgr",
            "relay-ticket",
            "-i",
            self.path(f"{name}.ident"),
            "-a",
            address,
            "-o",
            self.path(f"{name}.ticket"),
        )
        self._start(name, port, "strelay", "-i", self.path(f"{name}.ident"), "-l", address)

    def add_index_servers(self, names: list[str]) -> None:
        """Make and start index servers that all trust each other."""
        for name in names:
            self.run("stmgr", "gen-ident", "-o", self.path(f"{name}.ident"))
            self.path(f"{name}-trusted").mkdir(exist_ok=True)
            client, server = self._free_port(f"{name}-client"), self._free_port(f"{name}-server")
            identity = self.path(f"{name}.ident")
            self.run(
                "stmgr",
                "index-ticket",
                "-i",
                identity,
                "-a",
                f"127.0.0.1:{client}",
                "-o",
                self.path(f"{name}.ticket"),
            )
            for other in names:
                if other != name:
                    self.path(f"{other}-trusted").mkdir(exist_ok=True)
                    ticket = self.path(f"{other}-trusted") / f"{name}.ticket"
                    self.run("stmgr", "index-ticket", "-i", identity, "-a", f"127.0.0.1:{server}", "-o", ticket)
        for name in names:
            client, server = self.ports[f"{name}-client"], self.ports[f"{name}-server"]
            listen = ["-c", f"127.0.0.1:{client}", "-s", f"127.0.0.1:{server}"]
            trusted = ["-t", self.path(f"{name}-trusted")]
            self._start(name, client, "stindex", "-i", self.path(f"{name}.ident"), *listen, *trusted)

    def add_node(self, spec: NodeSpec) -> None:
        """Make and start a node with one app that may do everything; configure its relay and index server."""
        name, port = spec.name, self._free_port(spec.name)
        identity, app = self.path(f"{name}.ident"), self.path(f"{name}-app.ident")
        trusted = self.path(f"{name}-trusted")
        trusted.mkdir()
        self.run("stmgr", "gen-ident", "-o", identity)
        self.run("stmgr", "gen-ident", "-o", app)
        self.run("stmgr", "init-node-db", "-i", identity, "-o", self.path(f"{name}.db"))
        address = f"127.0.0.1:{port}"
        self.run("stmgr", "node-ticket", "-i", identity, "-a", address, "-o", self.path(f"{name}.ticket"))
        permissions = ["--proutes", "--pbuyer", "--pseller", "--pconfig"]
        self.run("stmgr", "app-ticket", "-i", app, "-o", trusted / "app.ticket", *permissions)
        database = ["-d", self.path(f"{name}.db"), "-t", trusted]
        self._start(name, port, "stnode", "-i", identity, "-l", address, *database)
        self.stctrl(name, "config", "add-relay", "-r", self.path(f"{spec.relay}.ticket"), "-n", spec.relay)
        self.stctrl(name, "config", "add-index", "-i", self.path(f"{spec.index}.ticket"), "-n", spec.index)

    def _start(self, name: str, port: int, program: str, *arguments: object) -> None:
        command = [_program(program), *map(str, arguments)]
        server = self.servers[name] = Server(name, command, port, self.path(f"{name}.log"))
        server.start()

    def _free_port(self, name: str) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.ports[name] = probe.getsockname()[1]
        return self.ports[name]

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
            self._wait_for(f"{node} and {other} to be online", node, other, lambda friend: bool(friend["online"]))
            self._wait_for(f"{currency} to be active", node, other, lambda friend: _is_active(friend, currency))
            self.stctrl(node, "config", "open-currency", "-n", other, "-c", currency)

    def _wait_for(self, what: str, node: str, friend: str, is_so: Callable[[dict[str, Any]], bool]) -> None:
        wait_until(what, lambda: is_so(self.friends(node)[friend]))

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
        self.stctrl(buyer, "buyer", "payment-status", "-p", payment, "-r", receipt)
        return self.run("stverify", "verify-receipt", "-i", invoice, "-r", receipt).stdout.strip()

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
            time.sleep(0.3)

    def stop(self) -> None:
        """End every process."""
        for server in self.servers.values():
            if server.process is not None and server.process.poll() is None:
                server.process.terminate()
        for server in self.servers.values():
            server.stop()
