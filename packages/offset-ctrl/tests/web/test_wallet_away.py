"""A node that can not be reached: the pages say so at once, and are as ever when it is back."""

import asyncio
import json
import re

import pytest

from offset_ctrl.connection import session as connection
from offset_ctrl.web.application import WALLET
from offset_proto.messages.app import CreatePayment
from offset_proto.messages.extensions import AddExpiringInvoice
from offset_proto.messages.history import ReadHistory
from offset_proto.uri import PaymentRequest, format_uri

HOME = "/wallet/node"
AWAY = re.compile("Your node <bdi>node</bdi> can not be reached</strong> at 127.0.0.1:[0-9]+, since <time datetime=")


@pytest.fixture(autouse=True)
def _stays_away(monkeypatch):
    """Whoever waits for a connection waits longer than the test does."""
    monkeypatch.setattr(connection, "RECONNECT_TICKS", 10**6)


@pytest.fixture
def lose(poll):
    """Ends the connection to the node, which takes no other one for now."""

    async def lose_node(server):
        server.fake.accepts = False
        server.fake.drop()
        await poll(lambda: server.desk.nodes[0].reach.away is not None)

    return lose_node


def _request(server):
    return format_uri(PaymentRequest(server.invoice(1), "Tea"))


def test_every_page_answers(visit, lose):
    """With what was known last, or that it needs the node; and all of them say which node is away, and since when."""
    needing = {f"{HOME}/history", f"{HOME}/statement", f"{HOME}/statement/pdf", f"{HOME}/pay"}

    async def body(server, browser):
        made = await browser.send(await browser.open(f"{HOME}/ask"), "/ask", amount="5", currency="FST")
        await lose(server)
        paths = [path for each in WALLET for path in each.paths() if path not in ("/", made.url.path)]
        found = {path.format(node="node", friend="bob", invoice_id="x", payment_id="x") for path in paths}
        for path in sorted(found | {made.url.path}):
            answer = await browser.client.get(path, params={"text": _request(server)})
            if path in needing:
                assert (answer.status_code, "This needs your node" in answer.text) == (503, True), path
            if answer.headers["content-type"].startswith("text/html"):
                assert AWAY.search(answer.text), path
                assert "it pays, asks for and changes nothing at the node" in answer.text
                assert "ConnectionError(" not in answer.text

    visit(body)


def test_forms(visit, lose):
    """What needs the node is not begun, and what was entered stays; what does not need it is done."""

    async def body(server, browser):
        pages = {path: await browser.open(f"{HOME}{path}") for path in ("/ask", "/settings", "/friends/bob")}
        review = await browser.client.get(f"{HOME}/pay", params={"text": _request(server)})
        await lose(server)
        answer = await browser.send(pages["/ask"], "/ask", amount="77", currency="FST")
        assert answer.status_code == 503
        assert AWAY.search(answer.text)
        assert 'value="77"' in answer.text
        paid = await browser.send(review.text, "/pay")
        assert (paid.status_code, _request(server) in paid.text) == (503, True)
        assert (await browser.send(pages["/friends/bob"], "/pause")).status_code == 503
        assert not [*server.fake.asked(AddExpiringInvoice), *server.fake.asked(CreatePayment)]
        token = await browser.send(pages["/settings"], "/tokens", name="shop", read="yes")
        assert "stweb_" in token.text
        assert (await browser.send(pages["/settings"], "/log-out-everywhere")).status_code == 401

    visit(body)


def test_a_page_that_is_being_made_when_the_node_is_lost(visit, lose, poll, fake):
    """Is not waited for either."""
    fake.before = lambda connection, asked: not isinstance(asked, ReadHistory)

    async def body(server, browser):
        page = asyncio.create_task(browser.client.get(f"{HOME}/history"))
        await poll(lambda: fake.asked(ReadHistory))
        await lose(server)
        answer = await page
        assert (answer.status_code, bool(AWAY.search(answer.text))) == (503, True)

    visit(body)


def test_the_node_comes_back(visit, lose, poll, fake):
    """The pages are as ever, and whoever follows the node is told of both."""

    async def body(server, browser):
        told = []

        async def follow():
            async with server.client.stream("GET", "/api/v1/nodes/node/events?topic=report") as stream:
                async for line in stream.aiter_lines():
                    told.extend(json.loads(data).get("is_connected") for data in re.findall("^data: (.*)", line))

        following = asyncio.create_task(follow())
        await poll(lambda: told == [None])  # the report
        await lose(server)
        await poll(lambda: False in told)
        assert (await browser.client.get(f"{HOME}/history")).status_code == 503
        fake.accepts = True
        await poll(lambda: True in told)
        assert not AWAY.search(await browser.open(f"{HOME}/history"))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    visit(body)
