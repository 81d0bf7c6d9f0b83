"""What the node reports, and changes of its configuration."""

from offset_crypto.identity import Identity
from offset_proto.messages.app import (
    AddFriend,
    AddRelay,
    EnableFriend,
    RemoveFriend,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
)
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    AddFriendReport,
    ChannelConsistentReport,
    CurrencyConfigReport,
    FriendStatusReport,
    FunderMutationReport,
    PkFriendReportMutation,
    SetStatus,
    UpdateCurrencyConfig,
)
from offset_proto.text import format_b64
from offset_proto.types import PrivateKey

NODE = "/api/v1/nodes/node"
BOB = format_b64(Identity(PrivateKey(b"\x04" * 32)).public_key)
CAROL = format_b64(Identity(PrivateKey(b"\x05" * 32)).public_key)
"""Key of somebody who is no friend yet."""


def test_the_report(run_server):
    """Amounts are texts, of 128 bits; nodes and friends go by their names and by their keys."""

    async def body(server):
        report = (await server.client.get(f"{NODE}/report")).json()
        [friend] = report["friends"]
        assert (friend["name"], friend["is_online"], friend["is_enabled"], friend["public_key"]) == (
            "bob",
            True,
            True,
            BOB,
        )
        [ledger] = friend["currencies"]
        assert ledger == {
            "currency": "FST",
            "balance": "-30",
            "sending": "1",
            "receiving": "2",
            "max_debt": str(2**128 - 1),
            "rate": {"mul": 0, "add": 1},
            "is_open": True,
        }
        assert (await server.client.get(f"{NODE}/friends")).json() == [friend]
        for name in ("bob", BOB):
            assert (await server.client.get(f"{NODE}/friends/{name}")).json() == friend
        for name in ("carol", CAROL):
            answer = await server.client.get(f"{NODE}/friends/{name}")
            assert (answer.status_code, answer.json()["title"]) == (404, "UnknownName")
        by_key = await server.client.get(f"/api/v1/nodes/{report['public_key']}")
        assert by_key.json()["name"] == "node"
        assert (await server.client.get(f"{NODE}/relays")).json() == []
        assert (await server.client.get(f"{NODE}/index-servers")).json() == []
        ticket = (await server.client.get(f"{NODE}/friend-ticket")).json()
        assert ticket == {"publicKey": report["public_key"], "relays": []}

    run_server(body)


def test_routes_and_capacity(run_server):
    """As the SDK has them."""

    async def body(server):
        query = f"?currency=FST&amount=5&destination={CAROL}"
        [[route]] = (await server.client.get(f"{NODE}/routes{query}")).json()
        assert route["capacity"] == str(2**100)
        capacity = (await server.client.get(f"{NODE}/capacity?currency=FST&to=bob")).json()
        assert capacity["friends"][0]["name"] == "bob"
        assert capacity["receive"] == capacity["friends"][0]["receive"] == str(2**128 - 1)
        server.fake.routes = lambda asked: None
        answer = await server.client.get(f"{NODE}/routes{query}")
        assert (answer.status_code, answer.json()["title"]) == (503, "RoutesUnavailable")

    run_server(body)


def test_a_new_friend(run_server, fake):
    """Is added under its name, and enabled."""

    def mutations(asked):
        if isinstance(asked, AddFriend):
            added = AddFriendReport(
                asked.friend_public_key, asked.name, asked.relays, None, ChannelConsistentReport(())
            )
            return (FunderMutationReport(added),)
        if isinstance(asked, EnableFriend):
            status = SetStatus(FriendStatusReport.ENABLED)
            return (FunderMutationReport(PkFriendReportMutation(asked.public_key, status)),)
        return ()

    fake.mutations = mutations

    async def body(server):
        form = {"name": "carol", "ticket": {"publicKey": CAROL, "relays": []}}
        answer = await server.client.post(f"{NODE}/friends", json=form)
        assert (answer.status_code, answer.json()["name"], answer.json()["is_enabled"]) == (201, "carol", True)
        for wrong in (
            {**form, "name": " "},
            {**form, "ticket": {"publicKey": CAROL, "relays": [{"publicKey": BOB, "address": "nowhere"}]}},
            {**form, "ticket": {"publicKey": CAROL[:-1], "relays": []}},
        ):
            answer = await server.client.post(f"{NODE}/friends", json=wrong)
            assert (answer.status_code, answer.json()["title"]) == (400, "InvalidInput")
        assert len(fake.asked(AddFriend)) == 1

    run_server(body)


def test_limits_and_rates(run_server, fake):
    """What is left out stays as it is; what the node does not carry out is refused."""

    def mutations(asked):
        if isinstance(asked, SetFriendCurrencyMaxDebt):
            config = CurrencyConfigReport(asked.currency, Rate(0, 1), asked.remote_max_debt, True)
            return (
                FunderMutationReport(PkFriendReportMutation(asked.friend_public_key, UpdateCurrencyConfig(config))),
            )
        return ()

    fake.mutations = mutations

    async def body(server):
        path = f"{NODE}/friends/bob/currencies/FST"
        answer = await server.client.patch(path, json={"max_debt": str(2**127)})
        assert answer.json()["currencies"][0]["max_debt"] == str(2**127)
        assert not fake.asked(SetFriendCurrencyRate)
        refused = await server.client.patch(path, json={"rate": {"mul": 1, "add": 2}})
        assert (refused.status_code, refused.json()["title"]) == (409, "RequestRefused")
        assert (await server.client.patch(path, json={"max_debt": 5})).status_code == 400

    run_server(body)


def test_what_needs_a_token_that_may_configure(run_server, fake):
    """Nothing reaches the node."""

    async def body(server):
        reader = server.token("reader", "read", "ask", "pay:5:FST/day")
        for method, path, form in (
            ("DELETE", f"{NODE}/friends/bob", None),
            ("POST", f"{NODE}/relays", {"publicKey": BOB, "address": "a:1", "name": "r"}),
            ("PATCH", f"{NODE}/friends/bob", {"is_enabled": False}),
            ("POST", f"{NODE}/friends/bob/reset", None),
        ):
            answer = await server.client.request(method, path, json=form, headers=reader)
            assert (answer.status_code, answer.json()["title"]) == (403, "NotGranted")
        assert not fake.asked(RemoveFriend)
        assert not fake.asked(AddRelay)

    run_server(body)
