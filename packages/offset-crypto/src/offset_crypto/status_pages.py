"""
How a server is doing, over HTTP: ``/metrics``, ``/healthz`` and ``/readyz``. The shell of `offset_crypto.measures`.

============  =====================================================================================================
page          what it says
============  =====================================================================================================
``/metrics``  the figures, in the text format of Prometheus
``/healthz``  200: the loop of the process answers
``/readyz``   200: everything that the program needs is there; 503: it is not, with a line for each thing
============  =====================================================================================================

Whoever can connect may read the pages, so programs serve them only where they are told to, which should be a loopback
address. A page of a website in a browser of this machine can connect, too, and it could read what it gets if it came
from the same name: its owner only has to let that name lead here (DNS rebinding). So a request must name this server by
a number, as localhost, or as the program was told that others call it. A number can be any one, since nobody can let
it lead elsewhere. A request without a ``Host``, which HTTP/1.0 permits, comes from no browser.

Nobody holds up the program with these pages. There are at most `CLIENTS_MAX` connections, each with one request of at
most `HEAD_BYTES_MAX` bytes and with `CLIENT_SECONDS` for all of it. Beyond that number, the one that has gone longest
without a whole request is closed for the new one; where all have asked, the new one is. Figures are read in the loop,
where nothing changes meanwhile, and made into text by a thread, since collectors of plugins may take their time. One
text is made at once, for all who wait for it, and the next one begins no sooner than `SPACING_SECONDS` later.

h11 reads what the clients say, and prometheus-client writes the figures, to which it adds those of the process (memory,
processor, open files). Both come with the extra ``metrics`` of each server package.
"""

import asyncio
import contextlib
import functools
import ipaddress
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from offset_crypto.measures import Distribution, Kind, Measure, Value, gauge
from offset_crypto.program import ListenError
from offset_proto.errors import OffsetError
from offset_proto.proxies import is_loopback
from offset_proto.text import format_host_port

if TYPE_CHECKING:
    from h11 import Event, Request
    from prometheus_client import CollectorRegistry, Metric

__all__ = ["STATUS_MEASURES", "MetricsUnavailable", "Status", "serve_status"]

log = logging.getLogger("offset")

CLIENTS_MAX: Final = 8
HEAD_BYTES_MAX: Final = 8192
CLIENT_SECONDS: Final = 10.0
SPACING_SECONDS: Final = 0.25
_READ_BYTES: Final = 4096
_PORT: Final = re.compile(r":[0-9]*$", re.ASCII)

Subject = TypeVar("Subject")


class MetricsUnavailable(OffsetError):
    """The packages that the pages need are not installed."""


class Status:
    """
    What the pages of one program show.

    Args:
        distribution: The package whose extra ``metrics`` brings what the pages need.
        beginning: What the program waits for until somebody knows better.

    Attributes:
        missing: What the program waits for, a line for each; an empty list where it is ready.
    """

    def __init__(self, distribution: str, beginning: str) -> None:
        self.distribution = distribution
        self.missing: Callable[[], list[str]] = lambda: [beginning]
        self._readers: list[Callable[[], Iterator[tuple[Measure[Any], Value]]]] = []
        self.show(STATUS_MEASURES, self)

    def show(self, measures: Iterable[Measure[Subject]], subject: Subject) -> None:
        """Show *measures* of *subject* from now on."""
        table = tuple(measures)
        self._readers.append(lambda: ((measure, measure.read(subject)) for measure in table))

    def read(self) -> list[tuple[Measure[Any], Value]]:
        """All figures as they are now; maps and distributions are copied."""
        return [(measure, _frozen(value)) for reader in self._readers for measure, value in reader()]


STATUS_MEASURES: Final[tuple[Measure[Status], ...]] = (
    gauge("offset_ready", "1 where /readyz finds nothing missing, 0 otherwise", lambda status: not status.missing()),
)


def _frozen(value: Value) -> Value:
    if isinstance(value, Distribution):
        return value.copy()
    return dict(value) if isinstance(value, Mapping) else value


class _Figures:
    """A collector of prometheus-client, for what was read last."""

    def __init__(self) -> None:
        self.read: list[tuple[Measure[Any], Value]] = []

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for measure, value in self.read:
            if isinstance(value, Distribution):
                steps = [
                    ("+Inf" if bound == float("inf") else str(bound), count) for bound, count in value.cumulative()
                ]
                yield HistogramMetricFamily(measure.name, measure.text, steps, value.total)
                continue
            kind = CounterMetricFamily if measure.kind is Kind.COUNTER else GaugeMetricFamily
            family = kind(measure.name, measure.text, labels=[measure.label] if measure.label else [])
            for label, figure in value.items() if isinstance(value, Mapping) else (("", value),):
                family.add_metric([label] if measure.label else [], figure)
            yield family


class _Page:
    """The page of the figures: made by a thread, once for all who ask at the same time."""

    def __init__(self, status: Status) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._status = status
        self._figures = _Figures()
        self.registry.register(self._figures)
        self._making: asyncio.Task[tuple[str, bytes]] | None = None
        self._next_at = 0.0

    async def text(self) -> tuple[str, bytes]:
        """Its type and its text. Raises what a collector of a plugin raises."""
        if self._making is None:
            self._making = asyncio.create_task(self._make())
            self._making.add_done_callback(self._is_made)
        return await asyncio.shield(self._making)

    def _is_made(self, making: "asyncio.Task[tuple[str, bytes]]") -> None:
        self._making = None
        if not making.cancelled() and making.exception() is not None:
            log.error("the metrics can not be shown: %s", making.exception())

    async def _make(self) -> tuple[str, bytes]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._next_at - loop.time())
        self._next_at = loop.time() + SPACING_SECONDS
        self._figures.read = self._status.read()
        made: asyncio.Future[tuple[str, bytes]] = loop.create_future()
        # A daemon: a collector that hangs does not keep the program from ending.
        threading.Thread(target=self._write, args=(loop, made), name="metrics", daemon=True).start()
        return await made

    def _write(self, loop: asyncio.AbstractEventLoop, made: "asyncio.Future[tuple[str, bytes]]") -> None:
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        try:
            result = CONTENT_TYPE_LATEST, generate_latest(self.registry)
            tell = functools.partial(_settle, made, made.set_result, result)
        except Exception as error:  # noqa: BLE001  of any plugin
            tell = functools.partial(_settle, made, made.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program has ended
            loop.call_soon_threadsafe(tell)


def _settle(made: "asyncio.Future[Any]", settle: Callable[[Any], None], result: object) -> None:
    if not made.done():  # cancelled: the program ends
        settle(result)


class _Pages:
    """The clients of the pages: those who have not asked yet, the first to come first, and those who have."""

    def __init__(self, status: Status, names: Collection[str]) -> None:
        self.page = _Page(status)
        self._status = status
        self._names = {"localhost", *(name.lower() for name in names)}
        self._silent: dict[asyncio.StreamWriter, None] = {}
        self._asking: set[asyncio.StreamWriter] = set()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close."""
        if len(self._silent) + len(self._asking) >= CLIENTS_MAX:
            if not self._silent:
                writer.transport.abort()
                return
            longest = next(iter(self._silent))
            del self._silent[longest]
            longest.transport.abort()
        self._silent[writer] = None
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                await self._talk(reader, writer)
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            self._silent.pop(writer, None)
            self._asking.discard(writer)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h11

        talk = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        try:
            while (event := talk.next_event()) is h11.NEED_DATA:
                talk.receive_data(await reader.read(_READ_BYTES))
        except h11.RemoteProtocolError as error:
            status, kind, body = error.error_status_hint, "text/plain; charset=utf-8", f"{error}\n".encode()
        else:
            if not isinstance(event, h11.Request) or writer not in self._silent:
                return
            del self._silent[writer]
            self._asking.add(writer)
            status, kind, body = await self._answer(event)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
        if status == 405:
            headers.append(("Allow", "GET, HEAD"))
        said: list[Event] = [h11.Response(status_code=status, headers=headers)]
        if not isinstance(event, h11.Request) or event.method != b"HEAD":
            said.append(h11.Data(data=body))
        for part in (*said, h11.EndOfMessage()):
            writer.write(talk.send(part) or b"")
        await writer.drain()

    async def _answer(self, request: "Request") -> tuple[int, str, bytes]:
        """Status, type and text of the answer."""
        host = next((value for name, value in request.headers if name == b"host"), None)
        if host is not None and not self._is_ours(host.decode("latin-1")):
            return _plain(421, "this server does not know that it is called so; --metrics-name NAME tells it")
        if request.method not in (b"GET", b"HEAD"):
            return _plain(405, "only GET")
        match request.target.partition(b"?")[0]:
            case b"/metrics":
                try:
                    return (200, *await self.page.text())
                except Exception:  # noqa: BLE001  of any plugin; the log has it
                    return _plain(500, "the metrics can not be shown: the log says why")
            case b"/healthz":
                return _plain(200, "ok")
            case b"/readyz":
                missing = self._status.missing()
                return _plain(503 if missing else 200, "\n".join(missing) or "ready")
            case _:
                return _plain(404, "/metrics, /healthz, /readyz")

    def _is_ours(self, host: str) -> bool:
        """Whether a request for *host*, which may have a port behind it, is meant for this server."""
        name = _PORT.sub("", host).lower()
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return name in self._names
        return True


def _plain(status: int, text: str) -> tuple[int, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()


@contextlib.asynccontextmanager
async def serve_status(
    address: tuple[str, int] | None, status: Status, names: Collection[str] = ()
) -> "AsyncIterator[CollectorRegistry | None]":
    """
    Serve the pages of *status* for the length of a block.

    Args:
        address: To listen on; None: no pages.
        status: May be told more while the pages are served.
        names: By which others reach the address, without a port; numbers and localhost need not be among them.

    Yields:
        The registry of the page of figures, for collectors of plugins; None where there is no page.

    Raises:
        MetricsUnavailable: Something that is needed is not installed.
        ListenError: The address can not be listened on.
    """
    if address is None:
        yield None
        return
    try:
        import h11  # noqa: F401
        import prometheus_client  # noqa: F401
    except ImportError as error:
        need = f"--metrics needs {error.name}: pip install '{status.distribution}[metrics]'"
        raise MetricsUnavailable(need) from None
    if not is_loopback(address[0]):
        log.warning(
            "whoever reaches %s can read the pages of --metrics; choose a loopback address, and let a proxy or a "
            "tunnel bring them to another machine",
            format_host_port(*address),
        )
    pages = _Pages(status, names)
    try:
        server = await asyncio.start_server(pages.client, *address, limit=HEAD_BYTES_MAX)
    except OSError as error:
        raise ListenError(address, error) from None
    try:
        yield pages.page.registry
    finally:
        server.close()
