"""What the server programs have in common: identity, event loop, signals. Spec 09 §3."""

import asyncio
import contextlib
import ctypes
import logging
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from offset_crypto.identity import Identity
from offset_crypto.passphrase import forget_variable, open_identity
from offset_crypto.supervision import feed_watchdog, tell_stopping
from offset_proto.errors import InvariantBroken, OffsetError
from offset_proto.log_events import STOPPING, tell
from offset_proto.logs import end_sums, write_sums

__all__ = ["ListenError", "keep_out_of_core_dumps", "load_identity", "run_server"]

log = logging.getLogger("offset")

SUMS_SECONDS: Final = 10
"""How often it is looked whether a sum of the log is due."""


class ListenError(OffsetError):
    """The listening address can not be used."""

    def __init__(self, address: tuple[str, int], error: OSError) -> None:
        super().__init__(f"ListenError({address[0]}:{address[1]}: {error.strerror or error})")


def load_identity(path: Path, passphrase_file: Path | None = None) -> Identity:
    """
    The identity in a file, for a process that keeps it as long as it runs.

    From now on the memory of this process goes into no core dump, and its children do not inherit the passphrase.

    Args:
        path: Locked by a passphrase, or not.
        passphrase_file: Where the passphrase is; None: `offset_crypto.passphrase` says where it is looked for.

    Raises:
        IoError, StringSerdeError: No such file, not an identity, or a wrong passphrase.
        NoPassphrase: It is locked, and nobody gave a passphrase.
    """
    keep_out_of_core_dumps()
    try:
        return open_identity(path, passphrase_file)
    finally:
        forget_variable()


_PR_SET_DUMPABLE = 4


def keep_out_of_core_dumps() -> None:
    """
    Keep the memory of this process out of core dumps, where the system lets us.

    A limit of 0 keeps the kernel from writing a file. Linux does not look at the limit where dumps go to a program,
    such as systemd-coredump, so there the process is made undumpable as well. Other processes of the same user can not
    read its memory or its environment in /proc then, either.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def run_server(
    serve: Callable[[], Awaitable[None]],
    on_hangup: Callable[[], None] | None = None,
    end: Callable[[], None] | None = None,
) -> None:
    """
    Run *serve* until it ends or a SIGTERM or SIGINT asks for the end, which is a success (D79).

    Args:
        serve: The server.
        on_hangup: Called at each SIGHUP; None: SIGHUP ends the process, as it does any program.
        end: Called at the first SIGTERM, to let *serve* end in order; whatever signal comes next ends it at once, as
            SIGINT always does. None: SIGTERM ends it at once, too.

    Raises:
        OffsetError, OSError: What ended it.
    """
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(_run(serve, on_hangup, end))


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # comes with the server packages, not with the SDK
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _run(
    serve: Callable[[], Awaitable[None]], on_hangup: Callable[[], None] | None, end: Callable[[], None] | None
) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(serve())
    broken: list[BaseException] = []
    orderly = [] if end is None else [end]

    def on_stop(number: signal.Signals) -> None:
        end_sums()  # what was counted is from before the end, and is told before it
        tell(log, STOPPING, reason=number.name)
        tell_stopping()
        if orderly and number is signal.SIGTERM:
            orderly.pop()()
        else:
            task.cancel()

    def on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, InvariantBroken):
            broken.append(error)
            task.cancel()
        else:
            log.error("%s", context.get("message"), exc_info=error)

    loop.set_exception_handler(on_exception)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop, number)
    if on_hangup is not None:
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
    _write_sums(loop)
    feed_watchdog(loop)
    try:
        await task
    except asyncio.CancelledError:
        if broken:
            raise broken[0] from None
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _write_sums(loop: asyncio.AbstractEventLoop) -> None:
    """Write the sums of the log that are due, now and then, until the loop ends."""
    write_sums()
    loop.call_later(SUMS_SECONDS, _write_sums, loop)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that is not a group itself."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
