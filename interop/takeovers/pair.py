"""Two processes of one node, of which one runs and the other one stands by; and what happens to the one that runs."""

import asyncio
import signal
import subprocess
import time
from enum import Enum
from typing import Final

from interop.cluster.server import PostgresServer
from interop.forwarder import Forwarder
from interop.network import Network, NodeSpec
from interop.ports import find_free_port
from interop.programs import Server, wait_until

__all__ = ["NODE", "Fault", "Pair"]

NODE: Final = "A"
END_SECONDS: Final = 60.0
TAKE_OVER_SECONDS: Final = 120.0


class Fault(Enum):
    """What happens to the process that runs, in words."""

    KILLED = "killed (kill -9)"
    FROZEN = "frozen, and awake later"
    CUT = "connection to the database cut"
    SILENT = "database does not answer"
    RESTARTED = "database started again"


class _Line(Forwarder):
    """Between a process and the database."""

    def break_off(self, *, hangs_up: bool) -> None:
        """Let nothing pass any more; with *hangs_up* the connections that there are end at once."""

        async def break_off() -> None:
            self.passing.clear()
            for _, *writers in self.open_links.values() if hangs_up else ():
                for writer in writers:
                    writer.transport.abort()

        self.run(break_off())

    def heal(self) -> None:
        """Let everything pass again."""

        async def heal() -> None:
            self.passing.set()

        self.run(heal())


class Pair:
    """
    The node A, twice.

    Args:
        network: In which it is made, with its relay and its index server.
        database: The server of its database, which listens at *port* of loopback.
        port: As above.

    Attributes:
        running: The process that runs.
        waiting: The standby.
    """

    running: Server
    waiting: Server

    def __init__(self, network: Network, database: PostgresServer, port: int) -> None:
        self._network = network
        self._database = database
        self._port = port
        self._lines: dict[str, _Line] = {}

    def set_up(self, relay: str, index: str) -> None:
        """Make the node, let one process run and the other one stand by; the ticket names the addresses of both."""
        name = self._database.new_database().partition("@/")[2].partition("?")[0]
        first, second = (self._database.address_at(self._line(each), name) for each in ("one", "two"))
        self._network.add_node(NodeSpec(NODE, relay, index, ("--standby",), first))
        self.running = one = self._network.servers[NODE]
        one.name = "one"
        port = find_free_port()
        given = {"-d": second, "-l": f"127.0.0.1:{port}"}
        command = [given.get(before, word) for before, word in zip(["", *one.command], one.command, strict=False)]
        self.waiting = self._network.servers["two"] = Server("two", command, port, self._network.path("two.log"))
        ticket = self._network.path(f"{NODE}.ticket")
        ticket.unlink()
        addresses = [word for server in (one, self.waiting) for word in ("-a", f"127.0.0.1:{server.port}")]
        self._network.run("stmgr", "node-ticket", "-i", self._network.path(f"{NODE}.ident"), *addresses, "-o", ticket)
        self._start_standby()

    def _line(self, name: str) -> int:
        self._lines[name] = _Line()
        return self._lines[name].tap("database", self._network.path("none"), self._port)

    def close(self) -> None:
        """End what stands between the processes and the database; the network ends the processes."""
        for line in self._lines.values():
            line.close()

    async def strike(self, fault: Fault) -> float:
        """
        Let something happen to the process that runs, and wait until the other one has taken over.

        Returns:
            Seconds that this took.
        """
        struck, line = self.running, self._lines[self.running.name]
        assert struck.process is not None
        began = time.monotonic()
        match fault:
            case Fault.KILLED:
                struck.process.kill()
            case Fault.FROZEN:
                struck.process.send_signal(signal.SIGSTOP)
            case Fault.CUT | Fault.SILENT:
                line.break_off(hangs_up=fault is Fault.CUT)
            case Fault.RESTARTED:
                await asyncio.to_thread(self._database.stop)
                await asyncio.to_thread(self._database.start)
        await asyncio.to_thread(wait_until, "the standby to take over", self.waiting.listens, TAKE_OVER_SECONDS)
        self.running, self.waiting = self.waiting, self.running
        return time.monotonic() - began

    async def make_good(self, fault: Fault) -> str:
        """
        Let the process that was struck speak again, which has to end and to say why; it is the standby then.

        Returns:
            What it said last; nothing where it was killed.

        Raises:
            RuntimeError: It ended otherwise.
        """
        struck = self.waiting
        assert struck.process is not None
        if fault is Fault.FROZEN:
            struck.process.send_signal(signal.SIGCONT)
        self._lines[struck.name].heal()
        status = await asyncio.to_thread(struck.process.wait, END_SECONDS)
        last = struck.log.read_text().splitlines()[-1]
        if fault is Fault.KILLED:
            last = ""
        elif status != 1 or "DatabaseError(postgresql://" not in last:
            raise RuntimeError(f"{struck.name}, {fault.value}, ended with status {status}, and said: {last}")
        await asyncio.to_thread(self._start_standby)
        return last

    def _start_standby(self) -> None:
        waiting = self.waiting

        def times() -> int:
            return waiting.log.read_text().count(" standing_by: ")

        with waiting.log.open("ab") as log:
            before = times()
            waiting.process = subprocess.Popen(
                waiting.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(f"{waiting.name} to stand by", lambda: times() > before, END_SECONDS)
