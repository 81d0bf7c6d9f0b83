"""A full round of every stctrl command, in text and JSON, and the refusals that it can see."""

import asyncio
import json
import re
import shlex
from pathlib import Path

import pytest

from interop.network import Network
from interop.programs import wait_until
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnectionError, open_node
from offset_proto.files import IDENTITY, TICKET


def _fails(network: Network, node: str, *arguments: object) -> str:
    """The name of the failure; one line on stderr, exit status 1."""
    result = network.stctrl(node, *arguments, check=False)
    assert result.returncode == 1, result.stdout
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert " ERROR stctrl] error: " in lines[0]
    return lines[0].partition("error: ")[2]


def test_relays(chain: Network) -> None:
    """info relays, add-relay, remove-relay."""
    ticket = chain.path("relay1.ticket")
    chain.stctrl("A", "config", "add-relay", "-r", ticket, "-n", "second")
    listed = json.loads(chain.stctrl("A", "info", "relays", "--json").stdout)
    assert [relay["name"] for relay in listed] == ["relay0", "second"]
    assert listed[1]["address"] == f"127.0.0.1:{chain.ports['relay1']}"
    text = chain.stctrl("A", "info", "relays").stdout
    assert text.splitlines()[1].startswith("| relay name | public key ")
    assert set(text.splitlines()[2]) == {"+", "="}
    assert "ConfigError(RelayNameAlreadyExists" in _fails(
        chain, "A", "config", "add-relay", "-r", ticket, "-n", "second"
    )
    assert "ConfigError(RelayFileNotFound" in _fails(chain, "A", "config", "add-relay", "-r", "no.ticket", "-n", "x")
    chain.stctrl("A", "config", "remove-relay", "-n", "second")
    assert "ConfigError(RelayNameNotFound" in _fails(chain, "A", "config", "remove-relay", "-n", "second")


def test_index_servers(chain: Network) -> None:
    """info index, add-index, remove-index; the connected one is marked."""
    chain.stctrl("A", "config", "add-index", "-i", chain.path("index1.ticket"), "-n", "second")

    def listed() -> list[dict[str, object]]:
        return list(json.loads(chain.stctrl("A", "info", "index", "--json").stdout))

    wait_until("an index server to be connected", lambda: any(server["connected"] for server in listed()))
    assert [server["name"] for server in listed()] == ["index0", "second"]
    assert " (*)" in chain.stctrl("A", "info", "index").stdout
    chain.stctrl("A", "config", "remove-index", "-n", "second")
    assert "ConfigError(IndexNameNotFound" in _fails(chain, "A", "config", "remove-index", "-n", "second")
    wait_until("the other index server to be connected", lambda: listed()[0]["connected"] is True)


def test_friends(chain: Network) -> None:
    """info friends, add-friend, set-friend-relays, remove-friend, names of errors."""
    friends = chain.friends("B")
    assert sorted(friends) == ["A", "C"]
    assert friends["A"]["enabled"] is True
    assert friends["A"]["channel"] == "consistent"
    assert friends["C"]["currency_configs"][0]["rate"] == {"mul": 0, "add": 1}
    own = chain.path("own.friend")
    chain.stctrl("A", "info", "export-ticket", "-t", own)
    for add in (("config", "add-friend", "-f", own), ("friend", "add", own)):
        refused = _fails(chain, "A", *add, "-n", "myself")
        assert "Error(RequestRefused): this ticket is that of the node itself; give the one that the friend" in refused
    chain.stctrl("A", "config", "add-friend", "-f", chain.path("C.friend"), "-n", "third")
    assert "FriendNameAlreadyExists" in _fails(
        chain, "A", "config", "add-friend", "-f", chain.path("C.friend"), "-n", "third"
    )
    chain.stctrl("A", "config", "set-friend-relays", "-f", chain.path("C.friend"), "-n", "third")
    assert "FriendPublicKeyMismatch" in _fails(
        chain, "A", "config", "set-friend-relays", "-f", chain.path("B.friend"), "-n", "third"
    )
    chain.stctrl("A", "config", "remove-friend", "-n", "third")
    for command in ("remove-friend", "enable-friend", "disable-friend", "reset-friend"):
        missing = _fails(chain, "A", "config", command, "-n", "third")
        assert missing == "ConfigError(FriendNameNotFound(third)): among the friends, there is B"
    renamed = _fails(chain, "A", "config", "add-friend", "-f", chain.path("B.friend"), "-n", "third")
    assert renamed == "ConfigError(RequestRefused): this friend is there already, as B"


def test_currencies(chain: Network) -> None:
    """Limits, rates, open and closed, removal of a currency that is not agreed."""
    currency = ["-n", "B", "-c", "XYZ"]
    for command in ("close-currency", "remove-currency"):
        unknown = _fails(chain, "A", "config", command, *currency)
        assert unknown.startswith("ConfigError(CurrencyNotFound(XYZ)): among the currencies that are set up with B, ")
    new = chain.stctrl("A", "config", "set-currency-max-debt", *currency, "-m", 2**128 - 1)
    assert new.stdout == ""
    told, undo = new.stderr.splitlines()
    assert told == "XYZ is new with B, and is proposed to it; before, there is FST"
    again = chain.stctrl("A", "config", "set-currency-max-debt", *currency, "-m", 2**128 - 1)
    assert again.stderr == ""
    chain.stctrl("A", "config", "set-currency-rate", *currency, "-m", 2**32 - 1, "-a", "+7")
    chain.stctrl("A", "config", "open-currency", *currency)
    configs = {config["currency"]: config for config in chain.friends("A")["B"]["currency_configs"]}
    assert configs["XYZ"] == {
        "currency": "XYZ",
        "rate": {"mul": 4294967295, "add": 7},
        "remote_max_debt": "340282366920938463463374607431768211455",
        "is_open": True,
    }
    chain.stctrl("A", "config", "close-currency", *currency)
    chain.run(*shlex.split(undo.removeprefix("take it back: ")))
    assert "XYZ" not in str(chain.friends("A")["B"]["currency_configs"])
    agreed = _fails(chain, "A", "config", "remove-currency", "-n", "B", "-c", "FST")
    assert "ConfigError(RequestRefused): B has agreed to FST, so it stays" in agreed
    long = ["-n", "B", "-c", "ABCDEFGHIJKLMNOPQ"]
    assert "ConfigError(InvalidCurrencyName" in _fails(chain, "A", "config", "open-currency", *long)


def test_tokens_and_tickets(chain: Network) -> None:
    """export-ticket and friend-last-token never overwrite, and answer in JSON as well."""
    ticket, token = chain.path("B2.friend"), chain.path("B2.token")
    written = json.loads(chain.stctrl("B", "info", "export-ticket", "-t", ticket, "--json").stdout)
    assert written["ticket"] == str(ticket)
    assert "InfoError(OutputFileAlreadyExists" in _fails(chain, "B", "info", "export-ticket", "-t", ticket)
    chain.stctrl("B", "info", "friend-last-token", "-n", "A", "-t", token, "--json")
    assert "InfoError(OutputFileAlreadyExists" in _fails(
        chain, "B", "info", "friend-last-token", "-n", "A", "-t", token
    )
    assert "InfoError(FriendNameNotFound" in _fails(
        chain, "B", "info", "friend-last-token", "-n", "Z", "-t", chain.path("Z.token")
    )
    altered = json.loads(token.read_text())
    altered["token_info"]["counters"]["move_token_counter"] = "99999"
    chain.path("altered.token").write_text(json.dumps(altered))
    result = chain.run("stverify", "verify-token", "-t", chain.path("altered.token"), check=False)
    assert result.returncode == 1
    assert result.stderr.strip().endswith("error: TokenInvalid")


def test_inconsistency_and_reset(chain: Network) -> None:
    """A friend removed and added again: both sides see the terms; reset-friend accepts the other's."""
    assert "ConfigError(ChannelNotInconsistent" in _fails(chain, "C", "config", "reset-friend", "-n", "B")
    before = chain.balance("B", "C", "FST")["balance"]
    chain.stctrl("C", "config", "remove-friend", "-n", "B")
    chain.stctrl("C", "config", "add-friend", "-f", chain.path("B.friend"), "-n", "B")
    chain.stctrl("C", "config", "enable-friend", "-n", "B")
    wait_until("the terms to arrive", lambda: chain.friends("C")["B"].get("remote_reset_terms") is not None, 60)
    friend = chain.friends("C")["B"]
    assert friend["channel"] == "inconsistent"
    assert friend["remote_reset_terms"] == [{"currency": "FST", "balance": str(before)}]
    assert "Remote Reset Terms:" in chain.stctrl("C", "info", "friends").stdout
    chain.stctrl("C", "config", "reset-friend", "-n", "B")
    wait_until("both sides to be consistent", lambda: chain.friends("B")["C"]["channel"] == "consistent")
    assert chain.balance("C", "B", "FST")["balance"] == -before
    assert chain.balance("B", "C", "FST")["balance"] == before
    chain.stctrl("C", "config", "open-currency", "-n", "B", "-c", "FST")
    assert chain.pay("C", "A", "FST", 3, "after-reset") == "Receipt is valid!"


def test_payment_files_are_checked(chain: Network, tmp_path: Path) -> None:
    """A commit for another invoice, an altered commit and receipt, files that exist."""
    assert chain.pay("C", "A", "FST", 4, "checked") == "Receipt is valid!"
    commit = chain.path("checked.commit")
    other = tmp_path / "other.invoice"
    chain.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", 4, "-i", other)
    assert "SellerError(InvoiceFileAlreadyExists" in _fails(
        chain, "A", "seller", "create-invoice", "-c", "FST", "-a", 4, "-i", other
    )
    assert "SellerError(InvoiceCommitMismatch" in _fails(
        chain, "A", "seller", "commit-invoice", "-i", other, "-c", commit
    )
    altered = json.loads(commit.read_text()) | {"dest_payment": "3"}
    (tmp_path / "altered.commit").write_text(json.dumps(altered))
    assert "SellerError(InvalidCommit" in _fails(
        chain, "A", "seller", "commit-invoice", "-i", chain.path("checked.invoice"), "-c", tmp_path / "altered.commit"
    )
    paid = ["-p", tmp_path / "new.payment", "-c", commit]
    assert "BuyerError(CommitFileAlreadyExists" in _fails(chain, "C", "buyer", "pay-invoice", "-i", other, *paid)
    receipt = json.loads(chain.path("checked.receipt").read_text())
    for member, value, reason in (
        ("currency", "EUR", "CurrencyMismatch"),
        ("total_dest_payment", "5", "DestPaymentMismatch"),
        ("is_complete", False, "InvalidReceipt"),
    ):
        (tmp_path / "altered.receipt").write_text(json.dumps(receipt | {member: value}))
        files = ["-i", chain.path("checked.invoice"), "-r", tmp_path / "altered.receipt"]
        result = chain.run("stverify", "verify-receipt", *files, check=False)
        assert (result.returncode, result.stdout) == (1, "")
        assert re.search(rf"error: {reason}(: .+)?$", result.stderr.strip())
    chain.stctrl("A", "seller", "cancel-invoice", "-i", other)


@pytest.mark.parametrize("permission", ["proutes", "pbuyer", "pseller", "pconfig", "phistory"])
def test_permissions(chain: Network, permission: str) -> None:
    """An app may do what its ticket says and nothing else; info is for every trusted app."""
    app = chain.path(f"{permission}.ident")
    chain.run("stmgr", "gen-ident", "-o", app)
    ticket = chain.path("B-trusted") / f"{permission}.ticket"
    chain.run("stmgr", "app-ticket", "-i", app, "-o", ticket, f"--{permission}")
    login = ["-I", app, "-T", chain.path("B.ticket")]
    assert chain.run("stctrl", *login, "info", "friends").returncode == 0
    invoice = chain.path(f"{permission}.invoice")
    commands: dict[str, list[object]] = {
        "pconfig": ["config", "enable-friend", "-n", "A"],
        "pseller": ["seller", "create-invoice", "-c", "FST", "-a", "1", "-i", invoice],
        "pbuyer": ["buyer", "payment-status", "-p", invoice, "-r", chain.path("x.receipt")],
    }
    for needed, command in commands.items():
        result = chain.run("stctrl", *login, *command, check=False)
        assert ("InsufficientPermissions" in result.stderr) == (needed != permission)
    for words in (["history"], ["income"], ["statement", "--since", "2026-01-01"]):
        result = chain.run("stctrl", *login, *words, check=False)
        assert (result.returncode == 0) == (permission in ("pconfig", "phistory"))
        assert ("InsufficientPermissions(history)" in result.stderr) == (result.returncode != 0)
    noted = chain.run("stctrl", *login, "history", "note", 1, "as agreed", check=False)
    assert ("InsufficientPermissions(config)" in noted.stderr) == (permission != "pconfig")


def test_tickets_that_change_while_the_node_runs(chain: Network) -> None:
    """A ticket that is removed cuts the open connection of its app; one that is added lets it in again."""
    ticket = chain.path("B-trusted") / "app.ticket"
    content = ticket.read_text()
    app = Identity(IDENTITY.load(chain.path("B-app.ident")).private_key)
    node = TICKET.load(chain.path("B.ticket"))

    async def scenario() -> None:
        async with asyncio.timeout(30), open_node(node.address, node.public_key, app) as connection:
            await asyncio.to_thread(ticket.unlink)
            with pytest.raises(
                NodeConnectionError
            ):  # somebody who comes first sees it, and so does the open connection
                async with open_node(node.address, node.public_key, app):
                    pass
            await connection.closed
        with pytest.raises(NodeConnectionError):
            async with open_node(node.address, node.public_key, app):
                pass
        await asyncio.to_thread(ticket.write_text, content)
        async with open_node(node.address, node.public_key, app) as connection:
            assert connection.permissions.config

    asyncio.run(scenario())
