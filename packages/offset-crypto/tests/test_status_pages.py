"""Metrics and health over HTTP, as a client sees them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from offset_crypto import status_pages
from offset_crypto.measures import Distribution, counter, gauge, histogram
from offset_crypto.status_pages import CLIENTS_MAX, HEAD_BYTES_MAX, Status, serve_status


class _Shop:
    """Something that is measured."""

    def __init__(self) -> None:
        self.sold = 0
        self.waits = Distribution((0.5, 1.0))


SHOP = (
    counter("shop_sold_total", "Things sold", lambda shop: shop.sold),
    gauge("shop_people", "People", lambda shop: {"in": 1, "out": 2}, "place", ("in", "out")),
    histogram("shop_wait_seconds", "Waits", lambda shop: shop.waits),
)


@asynccontextmanager
async def _served(status: Status, *names: str) -> AsyncIterator[tuple[int, CollectorRegistry]]:
    server: list[asyncio.Server] = []
    start = asyncio.start_server

    async def started(*args: object, **kwargs: object) -> asyncio.Server:
        server.append(await start(*args, **kwargs))
        return server[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "start_server", started)
        async with serve_status(("127.0.0.1", 0), status, names) as registry:
            assert registry is not None
            yield server[0].sockets[0].getsockname()[1], registry


async def _say(port: int, request: bytes) -> tuple[int, str]:
    """Status and text of the answer; 0 where there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body.decode()


async def _get(port: int, path: str) -> tuple[int, str]:
    return await _say(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


async def _figures(port: int) -> dict[str, float]:
    """What the page says, as the parser of prometheus-client reads it."""
    status, text = await _get(port, "/metrics")
    assert status == 200
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{sample.name}{','.join(sample.labels.values())}": sample.value for sample in samples}


def _status(shop: _Shop) -> Status:
    status = Status("offset-shop", "the doors are shut")
    status.show(SHOP, shop)
    return status


def test_figures_are_those_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters, gauges by label, histograms that count each value in every step above it, and figures of plugins."""
    monkeypatch.setattr(status_pages, "SPACING_SECONDS", 0.0)

    class OfAPlugin:
        def collect(self) -> Iterator[Metric]:
            yield GaugeMetricFamily("plugin_moon", "Its phase", value=0.25)

    async def scenario() -> None:
        shop = _Shop()
        async with _served(_status(shop)) as (port, registry):
            registry.register(OfAPlugin())
            before = await _figures(port)
            assert (before["shop_sold_total"], before["shop_wait_seconds_count"]) == (0, 0)
            shop.sold = 3
            for wait in (0.25, 0.5, 0.75, 7.0):
                shop.waits.observe(wait)
            now = await _figures(port)
        assert (now["shop_sold_total"], now["shop_peoplein"], now["shop_peopleout"]) == (3, 1, 2)
        steps = [now[f"shop_wait_seconds_bucket{bound}"] for bound in ("0.5", "1.0", "+Inf")]
        assert steps == [2, 3, 4]
        assert (now["shop_wait_seconds_sum"], now["shop_wait_seconds_count"]) == (8.5, 4)
        assert (now["offset_ready"], now["plugin_moon"]) == (0, 0.25)

    asyncio.run(scenario())


def test_one_text_serves_all_who_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks a thousand times a second takes no more of the program than who asks a few times; all is fresh."""
    made = 0

    def count(shop: _Shop) -> int:
        nonlocal made
        made += 1
        return shop.sold

    async def scenario() -> None:
        shop = _Shop()
        status = Status("offset-shop", "the doors are shut")
        status.show([gauge("shop_sold", "Things sold", count)], shop)
        async with _served(status) as (port, _):
            await _figures(port)  # the next one has to wait
            shop.sold = 1
            found = await asyncio.gather(*(_figures(port) for _ in range(CLIENTS_MAX)))
            assert [figures["shop_sold"] for figures in found] == [1] * CLIENTS_MAX
            assert made == 2

    monkeypatch.setattr(status_pages, "SPACING_SECONDS", 0.5)
    asyncio.run(scenario())


def test_health_and_what_is_missing() -> None:
    """200 and 503, with a line for each thing that is missing; health says nothing of them."""

    async def scenario() -> None:
        status = _status(_Shop())
        async with _served(status) as (port, _):
            assert await _get(port, "/readyz") == (503, "the doors are shut\n")
            status.missing = lambda: ["no bread", "no milk"]
            assert await _get(port, "/readyz") == (503, "no bread\nno milk\n")
            status.missing = list
            assert await _get(port, "/readyz?verbose") == (200, "ready\n")
            assert await _get(port, "/healthz") == (200, "ok\n")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nabcd", 405),
        (b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"\x00\xff garbage\r\n\r\n", 400),
        (b"GET /" + b"a" * 2 * HEAD_BYTES_MAX + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
    ],
)
def test_odd_requests_get_an_answer_that_says_so(request_bytes: bytes, expected: int) -> None:
    """The pages go on afterwards."""

    async def scenario() -> None:
        async with _served(_status(_Shop())) as (port, _):
            status, body = await _say(port, request_bytes)
            assert status == expected
            assert (body == "") == request_bytes.startswith(b"HEAD")
            assert (await _get(port, "/healthz"))[0] == 200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9701", 200),
        ("192.0.2.1", 200),
        ("[::1]:9701", 200),
        ("[2001:db8::1]", 200),
        ("LocalHost:9701", 200),
        ("Figures.example.org:9701", 200),
        ("figures.example.org", 200),
        ("evil.example.org:9701", 421),
        ("localhost.evil.example.org", 421),
        ("127.0.0.1.evil.example.org", 421),
        ("figures.example.org.", 421),
        ("1", 421),
        ("", 421),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_by_which_names_the_pages_are_reached(path: str, host: str, status: int) -> None:
    """Numbers, localhost, and what was configured; a website that lets its own name lead here reads nothing."""

    async def scenario() -> tuple[int, str]:
        shown = _status(_Shop())
        shown.missing = list
        async with _served(shown, "figures.Example.org") as (port, _):
            return await _say(port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    found, text = asyncio.run(scenario())
    assert found == status
    assert ("--metrics-name" in text) == (status == 421)


def test_clients_that_say_nothing_keep_nobody_out() -> None:
    """The one that has been silent longest makes room, also in the middle of its request."""

    async def scenario() -> None:
        async with _served(_status(_Shop())) as (port, _):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS_MAX)]
            silent[0][1].write(b"GET /healthz HTTP/1.1\r\nHost")
            await asyncio.sleep(0.1)
            for reader, _ in list(silent):
                assert await _get(port, "/healthz") == (200, "ok\n")
                assert await _end_of(reader) == b""
                silent.append(await asyncio.open_connection("127.0.0.1", port))
            for _, writer in silent:
                writer.close()

    asyncio.run(scenario())


def test_clients_that_say_nothing_have_a_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody else wants their places."""
    monkeypatch.setattr(status_pages, "CLIENT_SECONDS", 0.5)

    async def scenario() -> None:
        async with _served(_status(_Shop())) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await _end_of(reader) == b""
            writer.close()

    asyncio.run(scenario())


def test_who_waits_for_an_answer_keeps_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all places are those of clients that have asked, the next one is turned away; they get their answers."""
    monkeypatch.setattr(status_pages, "SPACING_SECONDS", 1.0)

    async def scenario() -> None:
        async with _served(_status(_Shop())) as (port, _):
            await _figures(port)  # the next one has to wait
            asking = [asyncio.create_task(_figures(port)) for _ in range(CLIENTS_MAX)]
            await asyncio.sleep(0.3)
            assert await _get(port, "/healthz") == (0, "")
            assert all("shop_sold_total" in figures for figures in await asyncio.gather(*asking))

    asyncio.run(scenario())


async def _end_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def test_a_collector_that_fails_costs_a_page_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """The log says why; health is not concerned."""

    class Broken:
        def __init__(self) -> None:
            self.is_broken = False

        def collect(self) -> Iterator[Metric]:
            if self.is_broken:
                raise ZeroDivisionError("a fault of the plugin")
            return iter(())

    async def scenario() -> None:
        async with _served(_status(_Shop())) as (port, registry):
            broken = Broken()
            registry.register(broken)
            broken.is_broken = True
            assert (await _get(port, "/metrics"))[0] == 500
            assert await _get(port, "/healthz") == (200, "ok\n")

    asyncio.run(scenario())
    assert "a fault of the plugin" in caplog.text


def test_an_address_that_others_reach_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever mistypes it must learn that strangers can read the pages."""

    async def scenario() -> None:
        async with serve_status(("0.0.0.0", 0), _status(_Shop())):  # noqa: S104
            pass

    asyncio.run(scenario())
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "whoever reaches 0.0.0.0:0 can read the pages of --metrics" in record.getMessage()
    assert record.getMessage().endswith(
        "choose a loopback address, and let a proxy or a tunnel bring them to another machine"
    )


def test_without_an_address_there_are_no_pages() -> None:
    """Nothing is listened on, and there is no registry for plugins."""

    async def scenario() -> None:
        async with serve_status(None, _status(_Shop())) as registry:
            assert registry is None

    asyncio.run(scenario())
