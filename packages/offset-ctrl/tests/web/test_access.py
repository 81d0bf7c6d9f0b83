"""Who is let in, and what holds for every request."""

import asyncio

import httpx
import pytest

from offset_ctrl.web import accepting, guard
from offset_ctrl.web.application import SECTIONS
from offset_ctrl.web.grants import Scope
from offset_proto.messages.app import CreatePayment

NODES = "/api/v1/nodes"
PAYMENTS = "/api/v1/nodes/node/payments"
ASK = "GET /log-in HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
GRANTS = {Scope.READ: "read", Scope.ASK: "ask", Scope.PAY: "pay:5:FST/day", Scope.CONFIGURE: "configure"}


def _all_operations():
    return [operation for section in SECTIONS for operation in section.operations]


def _path(operation):
    path = "/api/v1" + operation.path
    for name in ("friend", "currency", "server", "invoice_id", "payment_id"):
        path = path.replace("{" + name + "}", "x")
    return path.replace("{node}", "node")


def test_every_operation_has_its_scopes(run_server):
    """Nobody is let in without a token; with one, by exactly the scopes that the operation names."""

    async def body(server):
        tokens = {scope: server.token(scope.value, text) for scope, text in GRANTS.items()}
        for operation in _all_operations():
            if operation.name == "follow_events":
                continue  # answers for ever
            if operation.name == "deliver_commit":
                continue  # is for anybody
            nobody = await server.client.request(operation.method, _path(operation), headers={"authorization": ""})
            expected = (401, 429)
            assert nobody.status_code in expected, operation.name
            for scope, header in tokens.items():
                answer = await server.client.request(operation.method, _path(operation), headers=header)
                is_refused = answer.status_code == 403 and answer.json()["title"] == "NotGranted"
                assert is_refused == (scope not in operation.may), (operation.name, scope)

    run_server(body)


def test_a_token_that_was_revoked_is_refused_at_once(run_server):
    """Also where it has just been used."""

    async def body(server):
        header = server.token("short", "read")
        assert (await server.client.get(NODES, headers=header)).status_code == 200
        server.desk.tokens.revoke("short")
        answer = await server.client.get(NODES, headers=header)
        assert (answer.status_code, answer.json()["title"]) == (401, "NotLetIn")
        assert answer.headers["www-authenticate"] == "Bearer"

    run_server(body)


def test_wrong_secrets_are_looked_at_seldom(run_server):
    """After 20 in a minute the answer says to wait; whoever has a right one is let in all the same."""

    async def body(server):
        wrong = {"authorization": "Bearer stweb_wrong"}
        statuses = [(await server.client.get(NODES, headers=wrong)).status_code for _ in range(25)]
        assert statuses == [401] * 20 + [429] * 5
        limited = await server.client.get(NODES, headers=wrong)
        assert 1 <= int(limited.headers["retry-after"]) <= 61
        assert (await server.client.get(NODES)).status_code == 200

    run_server(body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1:1"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 201),
        ({"sec-fetch-site": "none"}, 201),
    ],
)
def test_pages_from_elsewhere_can_not_pay(run_server, headers, status):
    """Neither by a name of their own that leads here, nor from their own address, even with a good token."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice)
        more = {"idempotency-key": "a", **headers}
        answer = await server.client.post(f"{PAYMENTS}?wait=20", json=server.form(invoice), headers=more)
        assert answer.status_code == status
        assert len(server.fake.asked(CreatePayment)) == (status == 201)

    run_server(body)


def test_a_session_of_a_browser(run_server):
    """The link logs one browser in, by a button; its cookie reads, and can change nothing."""

    async def body(server):
        link = server.desk.tokens.create_link()
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as browser:
            assert "stweb link" in (await browser.get("/")).text
            page = await browser.get(f"/log-in?link={link}")
            assert link in page.text
            assert "set-cookie" not in page.headers
            visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
            assert (await browser.get(f"/log-in?link={link}", headers=visit)).status_code == 200
            foreign = await browser.post("/log-in", data={"link": link}, headers=visit)
            assert foreign.status_code == 403
            answer = await browser.post("/log-in", data={"link": link})
            assert answer.status_code == 303
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert "What you have" in (await browser.get("/", follow_redirects=True)).text
            assert (await browser.get(f"{NODES}/node/report")).status_code == 200
            for path in (PAYMENTS, f"{NODES}/node/invoices"):
                paid = await browser.post(path, json={}, headers={"idempotency-key": "a"})
                assert (paid.status_code, paid.json()["title"]) == (403, "NotGranted")
            assert (await browser.post("/log-in", data={"link": link})).status_code == 401

    run_server(body)


def test_two_servers_on_one_host(fake, tmp_path, web):
    """Who is logged in to one of them stays so when the other one gives its cookie, and when it takes that back."""

    async def main():
        async with (
            asyncio.timeout(30),
            web.open_server(fake, tmp_path / "one") as one,
            web.open_server(fake, tmp_path / "two") as two,
            httpx.AsyncClient(trust_env=False) as browser,
        ):
            for server in (one, two):
                link = {"link": server.desk.tokens.create_link()}
                assert (await browser.post(f"{server.url}/log-in", data=link)).status_code == 303
            for server in (one, two):
                assert (await browser.get(f"{server.url}{NODES}")).status_code == 200
            page = (await browser.get(f"{two.url}/wallet/node/settings")).text
            left = next(form for form in web.forms_of(page) if form.action == "/log-out")
            assert (await browser.post(f"{two.url}/log-out", data=left.fields)).status_code == 303
            assert (await browser.get(f"{two.url}{NODES}")).status_code == 401
            assert (await browser.get(f"{one.url}{NODES}")).status_code == 200

    asyncio.run(main())


def test_headers_of_every_answer(run_server):
    """Pages are not framed, nothing is cached, and scripts of others are not run."""

    async def body(server):
        for path in ("/", NODES, "/nothing", f"{NODES}/node/report"):
            headers = (await server.client.get(path)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers

    run_server(body)


def test_what_is_not_there(run_server):
    """Is a problem, too."""

    async def body(server):
        missing = await server.client.get("/nothing")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
        method = await server.client.put(NODES)
        assert (method.status_code, method.json()["title"]) == (405, "WrongMethod")
        assert "GET" in method.headers["allow"]
        assert (await server.client.head(NODES)).status_code == 200

    run_server(body)


def test_bodies_that_are_too_large(run_server):
    """Are not read to the end, whether or not they say how large they are."""

    async def pieces():
        for _ in range(100):
            yield b"x" * 1024

    async def body(server):
        headers = {"content-type": "application/json", "idempotency-key": "a"}
        for content in (b"x" * (guard.BODY_BYTES_MAX + 1), pieces()):
            answer = await server.client.post(PAYMENTS, content=content, headers=headers)
            assert (answer.status_code, answer.json()["title"]) == (413, "BodyTooLarge")
        small = await server.client.post(PAYMENTS, content=b"x" * guard.BODY_BYTES_MAX, headers=headers)
        assert small.status_code == 400
        plain = await server.client.post(PAYMENTS, content=b"{}", headers={**headers, "content-type": "text/plain"})
        assert plain.status_code == 415

    run_server(body)


async def _say(server, *texts):
    """What the server answers to texts on one connection, a moment apart, until it closes it."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    heard = b""
    try:
        for text in texts:
            writer.write(text.format(host=f"{host}:{port}").encode())
            await asyncio.sleep(0.1)
        while data := await reader.read(4096):
            heard += data
    except ConnectionError:
        pass
    finally:
        writer.close()
    return heard.decode()


def test_slow_clients_are_let_go(run_server, monkeypatch):
    """Whoever does not send the headers, or the body, in time."""
    monkeypatch.setattr(accepting, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(guard.Guard.__init__, "__defaults__", (0.3, 30.0))

    async def body(server):
        assert await _say(server) == ""
        assert await _say(server, "GET /log-in HTTP/1.1\r\nHost: {host}\r\n") == ""
        slow = await _say(server, "POST /log-in HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nab")
        assert " 408 " in slow
        whole = await _say(server, "GET /log-in HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        assert " 200 " in whole
        second = await _say(server, "GET /log-in HTTP/1.1\r\nHost: {host}\r\n\r\n", "GET / HTTP/1.1\r\nHost")
        assert second.count("HTTP/1.1 200") == 1

    run_server(body)


async def _connect(server, request="", *, is_answered=False):
    """A connection on which something is sent, and the answer begins where there is one; what waits for its end."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.format(host=f"{host}:{port}", token=server.client.headers["authorization"]).encode())

    if is_answered:
        await reader.readuntil(b"\r\n")

    async def end():
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    return asyncio.create_task(end())


def test_who_waits_longest_makes_room(run_server, monkeypatch):
    """Nothing said, a part of a request said, or an answer got before: in the order in which they began to wait."""
    monkeypatch.setattr(accepting, "CONNECTIONS_MAX", 3)

    async def body(server):
        answered = await _connect(server, "GET /log-in HTTP/1.1\r\nHost: {host}\r\n\r\n", is_answered=True)
        partial = await _connect(server, "POST /log-in HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nab")
        await asyncio.sleep(0.1)
        held = [answered, partial, await _connect(server)]
        for number in range(3):
            await asyncio.sleep(0.1)
            assert " 200 " in await _say(server, ASK)
            await held[number]
            assert not any(end.done() for end in held[number + 1 :])
            held.append(await _connect(server))
        await asyncio.sleep(0.1)
        for end in held:
            end.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    run_server(body)


def test_requests_under_way_keep_their_places(run_server, monkeypatch):
    """Where all have one, a new connection is closed; with the end of one it finds a place."""
    monkeypatch.setattr(accepting, "CONNECTIONS_MAX", 2)
    head = "Host: {host}\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    asked = f"GET /api/v1/nodes/node/events?topic=report HTTP/1.1\r\n{head}"

    async def body(server):
        streams = [await _connect(server, asked, is_answered=True) for _ in range(2)]
        assert await _say(server, ASK) == ""
        assert not any(end.done() for end in streams)
        server.desk.closing.set()
        await asyncio.gather(*streams)
        assert " 200 " in await _say(server, ASK)

    run_server(body)


def test_one_address_has_a_part_of_the_places():
    """Its own connections make room for its next ones; those of others stay, also where they have waited longer."""
    places, dropped = accepting.Places(), []

    def take(peer, now, *, is_busy=False):
        place = places.take(peer, now)
        if place is not None:
            place.is_busy, place.drop = is_busy, lambda: dropped.append((peer, now))
        return place

    assert take("192.0.2.1", 0) is not None
    for now in range(1, accepting.CONNECTIONS_OF_ONE_MAX):
        assert take("192.0.2.2", now, is_busy=True) is not None
    assert take("192.0.2.2", 100) is not None
    assert dropped == []
    assert take("192.0.2.2", 101, is_busy=True) is not None
    assert dropped == [("192.0.2.2", 100)]
    assert take("192.0.2.2", 102) is None
    for now in range(accepting.CONNECTIONS_MAX - accepting.CONNECTIONS_OF_ONE_MAX - 1):
        assert take(None, 200 + now, is_busy=True) is not None
    assert len(dropped) == 1
    assert take(None, 500, is_busy=True) is not None
    assert dropped[1:] == [("192.0.2.1", 0)]
    assert take("192.0.2.3", 501) is None


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_what_counts_as_one_address(host, peer):
    """Loopback never; of IPv6 the network that one customer has."""
    assert accepting.peer_of(host) == peer


@pytest.mark.parametrize("hosts", ["Host: a\r\nHost: b\r\n", ""])
def test_requests_without_one_host(run_server, hosts):
    """Are no requests."""

    async def body(server):
        answer = await _say(server, f"GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")
        assert answer.split(" ")[1] in ("400", "421")

    run_server(body)
