"""Server-sent events: what has changed, once and in order, also over connections that end."""

import asyncio
import json

from offset_ctrl.web.api import events
from offset_proto.messages.app import ReportMutations
from offset_proto.messages.history import EntryKind, HistoryEnd, HistoryEntry
from offset_proto.messages.report import (
    FriendLivenessReport,
    FunderMutationReport,
    PkFriendReportMutation,
    SetLiveness,
)
from offset_proto.types import Currency, Uid

EVENTS = "/api/v1/nodes/node/events"


async def _take(lines, number):
    """So many events of the lines of a stream, as id, name and value."""
    found, event = [], {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
            continue
        if "data" in event:
            found.append((event["id"], event["event"], json.loads(event["data"])))
        event = {}
        if len(found) == number:
            return found
    return found


def _entry(number, friend):
    return HistoryEntry(
        number, 0, friend, Currency("FST"), EntryKind.PAID, 0, -5, 5, 0, None, None, None, None, "", None
    )


def test_changes_of_the_report(run_server):
    """First the whole, then friends that have changed."""

    async def body(server):
        async with server.client.stream("GET", EVENTS, params={"topic": "report"}) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()
            [(_, name, report)] = await _take(lines, 1)
            assert (name, report["friends"][0]["name"]) == ("report", "bob")
            [key] = server.desk.nodes[0].node.report.friends
            offline = PkFriendReportMutation(key, SetLiveness(FriendLivenessReport.OFFLINE))
            server.fake.tell(ReportMutations(Uid(bytes(16)), (FunderMutationReport(offline),)))
            [(_, name, change)] = await _take(lines, 1)
            assert (name, change["friends"][0]["is_online"], change["removed"]) == ("report-change", False, [])

    run_server(body)


def test_payments_and_history_go_on_where_they_were(run_server):
    """A client that sends the last id gets what came meanwhile, and nothing twice."""

    async def body(server):
        friend = next(iter(server.desk.nodes[0].node.report.friends))
        server.fake.history = [_entry(1, friend)]
        topics = {"topic": ["payments", "history"]}
        async with server.client.stream("GET", EVENTS, params=topics) as stream:
            lines = stream.aiter_lines()
            invoice = server.invoice(1)
            server.let_pay(invoice, collects=False)
            sent = (await server.pay("a", server.form(invoice), "?wait=20")).json()
            states = []
            while "committed" not in states:
                [(last, name, payment)] = await _take(lines, 1)
                assert (name, payment["payment_id"]) == ("payment", sent["payment_id"])
                states.append(payment["state"])
        server.fake.history.append(_entry(2, friend))
        server.fake.tell(HistoryEnd(2, 0))
        header = {"last-event-id": last}
        async with server.client.stream("GET", EVENTS, params=topics, headers=header) as stream:
            [(last, name, entry)] = await _take(stream.aiter_lines(), 1)
            assert (name, entry["number"], entry["balance"]) == ("history", 2, "-5")
        async with server.client.stream("GET", EVENTS, params={**topics, "after": "0-0-0"}) as stream:
            found = await _take(stream.aiter_lines(), 3)
            assert [name for _, name, _ in found] == ["payment", "history", "history"]
            assert [value["number"] for _, _, value in found[1:]] == [1, 2]
            assert found[0][2]["state"] == "committed"

    run_server(body)


def test_a_history_that_has_become_another_one(run_server, poll):
    """The node was restored. The stream ends, and its last id is no place in the new history."""

    async def body(server):
        friend = next(iter(server.desk.nodes[0].node.report.friends))
        server.fake.history = [_entry(1, friend), _entry(2, friend)]
        async with server.client.stream("GET", EVENTS, params={"topic": "history", "after": "0-0-0"}) as stream:
            lines = stream.aiter_lines()
            [_, (last, _, _)] = await _take(lines, 2)
            assert last == "0-0-2"
            server.fake.timeline = 77
            server.fake.history.append(_entry(3, friend))
            server.fake.tell(HistoryEnd(3, 77))
            assert not [line async for line in lines if line.startswith("id")]
        answer = await server.client.get(EVENTS, params={"topic": "history", "after": last})
        assert (answer.status_code, answer.json()["title"]) == (409, "HistoryReplaced")
        assert "Read the history from 0 again" in answer.json()["detail"]
        async with server.client.stream("GET", EVENTS, params={"topic": "history", "after": "0-0-0"}) as stream:
            found = await _take(stream.aiter_lines(), 3)
            assert [each for each, _, _ in found] == ["0-0-1-77", "0-0-2-77", "0-0-3-77"]
        async with server.client.stream("GET", EVENTS, params={"topic": "history", "after": found[1][0]}) as stream:
            [(_, _, entry)] = await _take(stream.aiter_lines(), 1)
            assert entry["number"] == 3

    run_server(body)


def test_topics_need_scopes(run_server):
    """A token that may pay follows its payments, and nothing else."""

    async def body(server):
        payer = server.token("payer", "pay:5:FST/day")
        for topic in ("report", "history", "invoices"):
            answer = await server.client.get(EVENTS, params={"topic": ["payments", topic]}, headers=payer)
            assert (answer.status_code, answer.json()["title"]) == (403, "NotGranted")
        for wrong in ({}, {"topic": "weather"}, {"topic": "payments", "after": "x"}):
            assert (await server.client.get(EVENTS, params=wrong)).status_code == 400

    run_server(body)


def test_the_number_of_streams_has_a_limit(run_server, monkeypatch):
    """Of one token, and of all; a stream that has ended makes room."""
    monkeypatch.setattr(events, "STREAMS_OF_ONE_MAX", 2)
    monkeypatch.setattr(events, "STREAMS_MAX", 3)

    async def body(server):
        async def opened(**more):
            request = server.client.build_request("GET", EVENTS, params={"topic": "payments"}, **more)
            return await server.client.send(request, stream=True)

        held = [await opened() for _ in range(2)]
        full = await opened()
        assert full.status_code == 429
        other = {"headers": server.token("other", "read")}
        held.append(await opened(**other))
        assert (await opened(**other)).status_code == 429
        await held.pop(0).aclose()
        again = await opened()
        for _ in range(100):  # the server learns of the end a moment later
            if again.status_code == 200:
                break
            await asyncio.sleep(0.05)
            again = await opened()
        assert again.status_code == 200
        for response in (*held, again, full):
            await response.aclose()

    run_server(body)


def test_a_stream_ends_with_its_token(run_server, monkeypatch):
    """At the next event, or when it was quiet for a while."""
    monkeypatch.setattr(events, "QUIET_SECONDS", 0.2)

    async def body(server):
        header = server.token("short", "read")
        async with server.client.stream("GET", EVENTS, params={"topic": "payments"}, headers=header) as stream:
            server.desk.tokens.revoke("short")
            async with asyncio.timeout(10):
                assert await _take(stream.aiter_lines(), 1) == []

    run_server(body)


def test_streams_end_with_the_server(run_server):
    """A client is told that the stream is over, and not that the connection broke."""
    told = []

    async def body(server):
        async def follow():
            async with server.client.stream("GET", EVENTS, params={"topic": ["report", "payments"]}) as stream:
                opened.set()
                told.extend(await _take(stream.aiter_lines(), 100))

        opened = asyncio.Event()
        following = asyncio.create_task(follow())
        await opened.wait()
        server.desk.closing.set()
        await following

    run_server(body)
    assert [name for _, name, _ in told] == ["report"]
