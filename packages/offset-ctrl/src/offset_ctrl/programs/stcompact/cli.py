"""The program stcompact: lines of JSON over stdin and stdout. Spec 10 §1."""

import asyncio
import contextlib
import logging
import os
import queue
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from offset_proto.cli import OffsetCommand, run_program
from offset_proto.errors import InvalidInput, OffsetError

if TYPE_CHECKING:
    from offset_crypto.aio import Ticker
    from offset_ctrl.connection.greeting import Listener
    from offset_ctrl.programs.stcompact.messages import ServerMessage
    from offset_ctrl.programs.stcompact.node_source import NodeHandle, NodeSource
    from offset_ctrl.programs.stcompact.server import CompactServer
    from offset_ctrl.programs.stcompact.store import LocalEntry, RemoteEntry
    from offset_proto.types import PublicKey

__all__ = ["main"]

log = logging.getLogger("offset.compact")

READ_BYTES: Final = 64 * 1024
LINE_BYTES_MAX: Final = 16 * 1024 * 1024
LINES_AHEAD_MAX: Final = 256
"""Lines of the user that are read and not carried out yet."""

LINES_UNREAD_MAX: Final = 100_000
"""Lines for the user that it has not read; with more, something is wrong with it."""

END_SECONDS: Final = 5.0
"""For requests under way at the end of the input."""


class UserSenderError(OffsetError):
    """The user has closed its end of our output, or reads so slowly that too much waits for it."""


class LocalNodesUnavailable(OffsetError):
    """A node in this process was asked for, and offset-node is not installed."""

    def __init__(self) -> None:
        super().__init__("local nodes need offset-node: pip install offset-node")


class _Output:
    """Lines for the user, written at once (D91) and by a thread, so that a slow reader holds up nobody."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._is_broken = False
        self._thread = threading.Thread(target=self._run, name="stdout", daemon=True)
        self._thread.start()

    def send(self, message: "ServerMessage") -> None:
        """One message, in order. Raises UserSenderError."""
        from offset_ctrl.programs.stcompact.messages import format_server_message

        if self._is_broken or self._lines.qsize() > LINES_UNREAD_MAX:
            raise UserSenderError("ServerError(UserSenderError)")
        self._lines.put(format_server_message(message).encode() + b"\n")

    def close(self) -> None:
        """Wait until everything is written, for a while."""
        self._lines.put(None)
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            while (line := self._lines.get()) is not None:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError:
            self._is_broken = True


class _Input:
    """Lines of the user, read by a thread; no more are read than the server keeps up with."""

    def __init__(self, descriptor: int, lines: "asyncio.Queue[bytes | None]", loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor = descriptor
        self._lines = lines
        self._loop = loop
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    def _run(self) -> None:
        # Not by sys.stdin: Python aborts at its end where a thread still reads from that.
        rest = b""
        with contextlib.suppress(OSError, RuntimeError):  # the program ends
            while data := os.read(self._descriptor, READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._put(line)
                if len(rest) > LINE_BYTES_MAX:
                    log.error("a line of more than %d bytes ends the input", LINE_BYTES_MAX)
                    break
            else:
                if rest:
                    self._put(rest)  # the last line may have no end
            self._put(None)

    def _put(self, line: bytes | None) -> None:
        asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()


class _Nodes:
    """Where nodes come from: this process, or elsewhere."""

    def __init__(self, ticker: "Ticker") -> None:
        self._ticker = ticker

    async def open_local(self, entry: "LocalEntry", listener: "Listener") -> "NodeHandle":
        try:
            from offset_ctrl.programs.stcompact.local_node import open_local
        except ImportError:
            raise LocalNodesUnavailable from None
        return await open_local(entry, listener, self._ticker)

    async def open_remote(self, entry: "RemoteEntry", listener: "Listener") -> "NodeHandle":
        from offset_ctrl.programs.stcompact.remote_node import open_remote

        return await open_remote(entry, listener, self._ticker)

    def format_database(self, public_key: "PublicKey") -> str:
        try:
            from offset_ctrl.programs.stcompact.local_node import format_new_database
        except ImportError:
            raise LocalNodesUnavailable from None
        return format_new_database(public_key)


async def _feed(lines: "asyncio.Queue[bytes | None]", server: "CompactServer") -> None:
    """Hand the user's lines on; what is none is logged and left out (D90)."""
    from offset_ctrl.programs.stcompact.messages import parse_user_message

    number = 0
    while (line := await lines.get()) is not None:
        number += 1
        if not line.strip():
            continue
        try:
            server.user_said(parse_user_message(line.decode()))
        except (InvalidInput, UnicodeDecodeError) as error:
            log.error("line %d is left out: %s", number, error)
        await server.keep_up()
    await server.keep_up()
    try:
        async with asyncio.timeout(END_SECONDS):
            await server.all_acknowledged()
    except TimeoutError:
        log.error("requests of the user are still under way")
    server.end_of_input()


async def _serve(store_path: Path) -> None:
    from offset_crypto.aio import Ticker
    from offset_ctrl.programs.stcompact.server import CompactServer
    from offset_ctrl.programs.stcompact.store import Store

    store = Store(store_path)
    output = _Output(sys.stdout.fileno())
    try:
        ticker = Ticker()
        nodes: NodeSource = _Nodes(ticker)
        server = CompactServer(store, nodes, output.send)
        ticker.subscribe(server.tick)
        lines: asyncio.Queue[bytes | None] = asyncio.Queue(LINES_AHEAD_MAX)
        _Input(sys.stdin.fileno(), lines, asyncio.get_running_loop())
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(_feed(lines, server))
            await server.run()
            feeding.cancel()
    finally:
        output.close()
        store.close()


@click.command("stcompact", cls=OffsetCommand)
@click.option("-s", "--store", type=click.Path(path_type=Path), required=True, help="Directory of the nodes.")
def _stcompact(store: Path) -> None:
    """The engine behind a graphical wallet of the Offset credit network: lines of JSON over stdin and stdout."""
    from offset_crypto.program import run_server

    run_server(lambda: _serve(store))


def main() -> None:
    """Run the program stcompact with the arguments of the command line."""
    run_program("stcompact", "error", _stcompact)
