"""stctrl doctor: what it collects, tries and prints. Which findings there are is in test_diagnosis.py."""

import asyncio
import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from offset_crypto.aio import Connection, Proxy, Ticker, serve
from offset_crypto.identity import Identity
from offset_ctrl.programs.stctrl import cli
from offset_ctrl.programs.stctrl import doctor as program
from offset_ctrl.programs.stctrl.database_facts import clock_is_set, read_database
from offset_ctrl.programs.stctrl.trying import try_servers
from offset_ctrl.rules.diagnosis import Manners, ServerFacts
from offset_ctrl.rules.findings import Finding, Severity
from offset_ctrl.testing import ScriptedNode, build_friend, build_report
from offset_proto import wire
from offset_proto.files import IDENTITY, TICKET, IdentityFile
from offset_proto.messages.app import AppPermissions
from offset_proto.messages.extensions import (
    Extension,
    OpenPaymentReport,
    PartReport,
    PartStateReport,
    PaymentStageReport,
    PaymentTarget,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import TimeHash
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, RelayAddress
from offset_proto.messages.report import (
    FriendLivenessReport,
    NodeReport,
)
from offset_proto.proxies import ProxyUrl
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64
from offset_proto.types import Currency, HashResult, InvoiceId, NetAddress, PaymentId, PrivateKey, Uid

NODE, APP, BOB, RELAY, OTHER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3, 4, 5))
ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:4000"


def _report(*relays: tuple[Identity, str], index: tuple[Identity, str] | None = None) -> NodeReport:
    evil = build_friend("b\x1b[31mob", liveness=FriendLivenessReport.OFFLINE)
    used = tuple(
        NamedRelayAddress(key.public_key, NetAddress(place), f"relay{n}") for n, (key, place) in enumerate(relays)
    )
    asked = () if index is None else (NamedIndexServerAddress(index[0].public_key, NetAddress(index[1]), "index"),)
    return build_report(NODE.public_key, {BOB.public_key: evil}, relays=used, index_servers=asked)


def _payment(state: PartStateReport, since: int, number: int = 1) -> OpenPaymentReport:
    route = FriendsRoute((NODE.public_key, BOB.public_key, OTHER.public_key))
    part = PartReport(Uid(bytes([number]) * 16), route, 20, 1, state, since)
    target = PaymentTarget(InvoiceId(bytes(32)), Currency("FST"), 20, OTHER.public_key)
    return OpenPaymentReport(PaymentId(bytes([number]) * 16), PaymentStageReport.SENDING, target, (part,), None)


def _directory(path: Path, address: str) -> tuple[Path, Path]:
    idfile, ticket = path / "app.ident", path / "node.ticket"
    IDENTITY.save(idfile, IdentityFile(PrivateKey(b"\x02" * 32)))
    TICKET.save(ticket, RelayAddress(NODE.public_key, NetAddress(address)))
    return idfile, ticket


@pytest.fixture
def examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs doctor against a scripted node: its exit status, and the page."""

    def run(fake: ScriptedNode, **options: Any) -> tuple[int, str]:
        async def main() -> int:
            ticker = Ticker(0.03)
            async with asyncio.timeout(20), fake.serve(ticker) as place:
                login = _directory(Path(tempfile.mkdtemp(dir=tmp_path)), place.address)
                settings = {"database": None, "tries": True, "as_json": False, **options}
                # It has an event loop of its own, as on the command line.
                return await asyncio.to_thread(lambda: program.doctor(*login, None, ticker=Ticker(0.03), **settings))

        return asyncio.run(main()), capsys.readouterr().out

    return run


def test_the_page(examined: Callable[..., tuple[int, str]]) -> None:
    """It has versions, findings with what to do, and a count; names of strangers reach no terminal as they are."""
    status, page = examined(ScriptedNode(NODE, _report()))
    assert status == 4
    assert page.startswith("stctrl doctor, 20")
    assert "offset-ctrl 0." in page.splitlines()[1]
    assert r"attention  b\x1b[31mob is offline, and no relay is known" in page
    assert "-> Ask it for a new friend ticket" in page
    assert "\x1b" not in page
    assert format_b64(NODE.public_key) not in page
    assert page.splitlines()[-1].startswith("fine: ")


def test_what_is_asked_of_a_node(examined: Callable[..., tuple[int, str]]) -> None:
    """What is open, of one that can tell an app that may know; of the others nothing."""
    now = int(time.time())
    fake = ScriptedNode(NODE, _report())
    fake.payments = lambda: (
        _payment(PartStateReport.FROZEN, now - 7300, 1),
        _payment(PartStateReport.ANSWERED, now - 3700, 2),
        _payment(PartStateReport.QUEUED, now - 9000, 3),
        _payment(PartStateReport.FROZEN, now - 60, 4),
    )
    fake.extensions = Extension.OPEN_PAYMENTS
    said = json.loads(examined(fake, as_json=True)[1])
    (found,) = [each for each in said["findings"] if each["about"] == "frozen credits"]
    assert "42 FST wait behind b\x1b[31mob, the oldest for 2 h" in found["words"]
    assert (found["severity"], said["worst"]) == ("attention", "attention")
    for extensions, buyer in ((Extension(0), True), (Extension.OPEN_PAYMENTS, False)):
        fake = ScriptedNode(NODE, _report())
        fake.extensions = extensions
        fake.permissions = AppPermissions(routes=False, buyer=buyer, seller=False, config=False)
        examined(fake)
        assert fake.requests == []


def test_who_has_to_speak_first(examined: Callable[..., tuple[int, str]]) -> None:
    """The node itself says so, to any app."""
    fake = ScriptedNode(NODE, _report())
    fake.extensions, fake.unheard = Extension.UNHEARD, (BOB.public_key,)
    fake.permissions = AppPermissions(routes=False, buyer=False, seller=False, config=False)
    assert "ob has to speak first" in examined(fake)[1]


def test_servers_are_tried_at_once(examined: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has to prove its own key; where one says nothing, or nobody is there, the others are found all the same."""
    seen = []
    monkeypatch.setattr("offset_crypto.aio.sockets.HANDSHAKE_TICKS", 100)  # until the silent one is given up

    async def body() -> tuple[ServerFacts, ...]:
        ticker = Ticker(0.03)

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1024):
                pass
            writer.close()

        mute = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with (
            asyncio.timeout(20),
            serve(
                "127.0.0.1", 0, RELAY, ticker, lambda link: seen.append(link.remote_public_key), handshakes_max=4
            ) as port,
        ):
            here, nowhere = f"127.0.0.1:{port}", "127.0.0.1:1"
            silence = f"127.0.0.1:{mute.sockets[0].getsockname()[1]}"
            keys = [Identity(PrivateKey(bytes([n]) * 32)) for n in range(10, 14)]
            places = zip((RELAY, *keys), (here, here, nowhere, silence, ONION), strict=True)
            report = ReportView(_report(*places, index=(APP, "no-such-name.invalid:1")))
            found = await try_servers(report, ticker)
        mute.close()
        return found

    real, other_key, refused, mute, onion, unknown = asyncio.run(body())
    assert real.problem is None
    assert other_key.problem is not None
    assert "Connect call failed" in str(refused.problem) or "refused" in str(refused.problem).lower()
    assert mute.problem is not None
    assert (onion.is_tried, onion.problem) == (False, "it is reached through Tor only: give --proxy")
    assert unknown.problem is not None
    assert len(seen) == 1
    assert NODE.public_key not in seen
    assert APP.public_key not in seen
    status, page = examined(ScriptedNode(NODE, _report((RELAY, "127.0.0.1:1"))), tries=False)
    assert status == 4
    assert "127.0.0.1:1" not in page


def test_as_what_a_server_answers() -> None:
    """By its manners alone, also where a relay and an index server have one key and the tickets are mixed up."""
    hash_of_tick = wire.INDEX_SERVER_TO_CLIENT.encode(TimeHash(HashResult(bytes(32))))
    doors = (lambda link: None, lambda link: link.send(hash_of_tick), lambda link: link.close("a stranger"))

    async def body() -> tuple[ServerFacts, ...]:
        ticker, links = Ticker(0.1), list[Connection]()

        def answering(door: Callable[[Connection], None]) -> Callable[[Connection], None]:
            def answer(link: Connection) -> None:
                links.append(link)
                door(link)

            return answer

        async with asyncio.timeout(20), contextlib.AsyncExitStack() as stack:
            places = [
                f"127.0.0.1:{await stack.enter_async_context(server)}"
                for server in (serve("127.0.0.1", 0, RELAY, ticker, answering(d), handshakes_max=4) for d in doors)
            ]
            mixed_up = [(RELAY, places[1]), (RELAY, places[2])]
            found = await try_servers(ReportView(_report(*mixed_up, index=(RELAY, places[0]))), ticker)
        assert all(link.is_closed for link in links)
        return found

    assert [each.manners for each in asyncio.run(body())] == [Manners.INDEX_SERVER, Manners.CLOSED, Manners.RELAY]


def test_behind_a_proxy_no_server_is_tried_past_it() -> None:
    """Onion services are tried, too; here nobody is at the proxy."""
    relays = [(RELAY, ONION), (OTHER, "relay.invalid:4000")]
    proxy = Proxy(ProxyUrl("127.0.0.1", 1))
    report = ReportView(_report(*relays))
    for found in asyncio.run(try_servers(report, Ticker(0.03), proxy)):
        assert found.is_tried
        assert "the proxy socks5h://127.0.0.1:1 is not reached" in str(found.problem)


def _doctor(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(
        cli._stctrl, [str(word) for word in words], standalone_mode=False, catch_exceptions=False
    )
    return result.return_value, result.output


def test_a_node_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a finding and no error, wherever it fails: no directory is named, no file, nobody at the address."""
    monkeypatch.delenv("OFFSET_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    status, page = _doctor("doctor")
    assert status == 5
    assert "broken     the node can not be asked: nobody said which one it is" in page
    status, page = _doctor("-C", tmp_path, "doctor")
    assert status == 5
    assert "node.ticket" in page
    _directory(tmp_path, "127.0.0.1:1")
    status, page = _doctor("-C", tmp_path, "doctor", "--local")
    assert status == 5
    assert "ConnectionError(127.0.0.1:1" in page


def test_a_database_that_can_not_be_read(tmp_path: Path) -> None:
    """One of the original."""
    (tmp_path / "node.db").write_text('{"funder_state": {"local_public_key"')
    found = read_database(tmp_path / "node.db").facts
    assert not found.is_checked
    assert "original" in str(found.problem)
    assert found.disk_free > 0


def test_no_room_for_a_copy_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is not checked then, and nothing is said against it."""
    pytest.importorskip("offset_node")
    with closing(sqlite3.connect(tmp_path / "node.db")) as connection, connection:
        connection.execute(f"PRAGMA application_id = {0x4F464653}")
        connection.execute("CREATE TABLE days (day)")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    found = read_database(tmp_path / "node.db").facts
    assert not found.is_checked
    assert found.problem == f"IoError({tmp_path}/nowhere: No such file or directory)"


def test_a_file_that_is_no_database_of_a_node(tmp_path: Path) -> None:
    """It is told, and nothing is said that would be done to a file which is none of the node's."""
    (tmp_path / "text").write_text("a letter")
    (tmp_path / "short").write_bytes(b"SQLite")
    (tmp_path / "json").write_text('{"some": "json"}')
    (tmp_path / "locked").write_bytes(b'{"lockedBackup":2,"chunkBytes":65536}\n\xff\0')
    (tmp_path / "invoice").write_text(
        '{"invoice_id": "a", "currency": "F", "dest_public_key": "k", "dest_payment": "5"}'
    )
    IDENTITY.save(tmp_path / "ident", IdentityFile(PrivateKey(b"\x02" * 32)))
    for name, number in (("calendar", 0), ("backup", 0x4F464642)):
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as connection, connection:
            connection.execute(f"PRAGMA application_id = {number}")
            connection.execute("CREATE TABLE days (day)")
    reasons = {
        "none": f"missing: {tmp_path}/none",
        ".": "it is no regular file",
        "text": "it does not begin as one does",
        "short": "it does not begin as one does",
        "json": "it does not begin as one does",
        "locked": f"it is a locked backup; stmgr restore -i {tmp_path}/locked -o NEW.db makes a database from it",
        "invoice": "it is an invoice",
        "ident": "it is an identity",
        "calendar": "it is a database of another program",
        "backup": f"it is a backup; stmgr restore -i {tmp_path}/backup -o NEW.db makes a database from it",
    }
    for name, reason in reasons.items():
        path = tmp_path / name
        status, page = _doctor("-C", tmp_path / "nobody", "doctor", "-d", path, "--json")
        told = {each["about"]: each for each in json.loads(page)["findings"] if each["about"] not in ("node", "clock")}
        assert status == 5
        if name in ("calendar", "backup") and find_spec("offset_node") is None:
            assert "needs the package offset-node" in told["database"]["words"]
            continue
        assert list(told) == ["database"], name
        assert told["database"]["words"] == f"{path} is not the database of the node ({reason})"
        names = f"stctrl -C {tmp_path}/nobody doctor -d DIR/node.db"
        assert told["database"]["remedy"] == f"Name the database of the node: {names}"


def test_commands_begin_as_the_present_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They name the node as it was named, or not at all, where the environment names it; no password is shown."""
    here = tmp_path / "a node"
    here.mkdir()
    idfile, ticket = _directory(here, "127.0.0.1:1")
    (here / "node.toml").touch()
    monkeypatch.setenv("OFFSET_DIRECTORY", str(here))
    shown = f"'{here}'"
    for login, begins in (
        ([], "stctrl doctor"),
        (["-C", here], f"stctrl -C {shown} doctor"),
        (["-I", idfile, "-T", ticket], f"stctrl -I '{idfile}' -T '{ticket}' doctor"),
        (["-C", here, "--proxy", "socks5h://me:secret@127.0.0.1:1"], f"stctrl -C {shown} --proxy socks5h://me:...@"),
    ):
        _, page = _doctor(*login, "doctor", "--local", "-d", tmp_path / "none")
        assert f"Name the database of the node: {begins}" in page
        assert f"Start it (stnode --config '{here}/node.toml')" in page
        assert "secret" not in page


def test_the_database_of_another_node(tmp_path: Path) -> None:
    """It is broken, and nothing in it is told of this node; nor where the node is not reached."""
    sqlite = pytest.importorskip("offset_node.database.sqlite")
    from offset_funder.state import FunderState
    from offset_node.state import NodeState

    for name, identity in (("bob.db", BOB), ("node.db", NODE)):
        sqlite.create_database(tmp_path / name, NodeState(FunderState(identity.public_key)))
    _directory(tmp_path, "127.0.0.1:1")
    page = _doctor("-C", tmp_path, "doctor", "--local", "-d", tmp_path / "bob.db")[1]
    owner, node = (format_b64(each.public_key)[:8] for each in (BOB, NODE))
    assert f"this is the database of {owner}…, and the node is {node}…" in page
    assert "there are no friends" not in page
    assert f"{tmp_path}/node.db is whole" in _doctor("-C", tmp_path, "doctor", "--local")[1]


def test_what_strangers_choose_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does it where a program reads the page, which gets it as it is."""
    evil = "b\x9b31m\u202e\x1b]0;o\x07b"
    program._print(0, (Finding(f"friends {evil}", Severity.FINE, f"of {evil}", f"ask {evil}"),))
    page = capsys.readouterr().out
    assert page.replace("\n", "").isprintable()
    assert page.count(r"b\x9b31m\u202e\x1b]0;o\x07b") == 3
    program._print_json(0, (Finding(f"friends {evil}", Severity.FINE, "Zoë"),))
    page = capsys.readouterr().out
    assert page.replace("\n", "").isprintable()
    assert "Zoë" in page
    assert json.loads(page)["findings"][0]["about"] == f"friends {evil}"


def test_a_database_beside_the_ticket(tmp_path: Path) -> None:
    """It is looked at without being named; another one where one is."""
    _directory(tmp_path, "127.0.0.1:1")
    (tmp_path / "node.db").write_text('{"funder_state": 1')
    (tmp_path / "other.db").write_text('{"funder_state": 1')
    assert f"{tmp_path}/node.db was not checked" in _doctor("-C", tmp_path, "doctor")[1]
    assert f"{tmp_path}/other.db was not checked" in _doctor("-C", tmp_path, "doctor", "-d", tmp_path / "other.db")[1]


def test_the_clock() -> None:
    """Linux always says something of its clock, unless a sandbox forbids to ask."""
    assert clock_is_set() in ((True, False, None) if sys.platform == "linux" else (None,))
