"""The program stweb: its command line, its errors, and that nothing of it is loaded where it is not asked for."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from offset_ctrl.programs.stweb.cli import _stweb
from offset_ctrl.web.database import open_database
from offset_ctrl.web.tokens import Tokens
from offset_proto.errors import OffsetError
from offset_proto.files import IDENTITY, TICKET, IdentityFile
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import NetAddress, PrivateKey, PublicKey

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")


@pytest.fixture
def run(capsys, tmp_path):
    """Runs the command with a state directory of the test; what it prints."""

    def run(*arguments):
        _stweb([*arguments, "--state", str(tmp_path / "state")], prog_name="stweb", standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_tokens(run):
    """Made, listed without their secrets, and revoked."""
    limits = ["--may", "read", "--may", "pay:100:FST/day"]
    secret = run("token", "create", "--name", "shop", *limits, "--until", TOMORROW).strip()
    assert secret.startswith("stweb_")
    [listed] = json.loads(run("token", "list", "--json"))
    assert (listed["name"], listed["may"], listed["used"]) == ("shop", ["read", "pay:100:FST/day"], None)
    assert datetime.fromtimestamp(listed["until"] - 1, UTC).strftime("%Y-%m-%d") == TOMORROW
    table = run("token", "list")
    assert "read pay:100:FST/day" in table
    assert "good" in table
    assert secret not in table
    run("token", "revoke", "--name", "shop")
    assert "revoked" in run("token", "list")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["token", "create", "--name", "a", "--may", "write", "--until", TOMORROW], "'write' is nothing"),
        (["token", "create", "--name", "a", "--may", "read", "--until", "soon"], "'soon' is no date"),
        (["token", "create", "--name", "a", "--may", "read", "--until", "2001-01-01"], "before it begins"),
        (["token", "create", "--name", "a", "--may", "read", "--until", "9999-12-31"], "is no date"),
        (["token", "revoke", "--name", "a"], "no token 'a'"),
        (["link"], "no server has run"),
    ],
)
def test_errors(run, arguments, says):
    """Say what is wrong."""
    with pytest.raises(OffsetError, match=says):
        run(*arguments)


def test_a_link_makes_the_one_before_it_void(run, tmp_path, capsys):
    """Which is said, and not mixed with the link: a script may open that."""
    with open_database(tmp_path / "state") as database, database.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('url', 'http://127.0.0.1:8080')")

    def link():
        _stweb(["link", "--state", str(tmp_path / "state")], prog_name="stweb", standalone_mode=False)
        return capsys.readouterr()

    assert link().err == ""
    again = link()
    assert again.out.startswith("http://127.0.0.1:8080/log-in?link=")
    assert again.err == "The link that was printed before is void; browsers that are logged in stay so.\n"
    with open_database(tmp_path / "state") as database:
        assert Tokens(database).use_link(again.out.strip().rpartition("=")[2]) is not None
    assert link().err == ""


def _stweb_fails(*arguments):
    command = [sys.executable, "-c", "from offset_ctrl.programs.stweb.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_server_that_can_not_start(tmp_path):
    """Says why in one line."""
    identity, ticket = tmp_path / "app.ident", tmp_path / "node.ticket"
    IDENTITY.save(identity, IdentityFile(PrivateKey(b"\x01" * 32)))
    TICKET.save(ticket, RelayAddress(PublicKey(bytes(32)), NetAddress("127.0.0.1:1")))
    files = ["-I", identity, "-T", ticket, "--state", tmp_path / "state"]
    assert "needs --idfile and --ticket" in _stweb_fails("-I", identity)
    assert "ConnectionError(127.0.0.1:1" in _stweb_fails(*files, "-l", "127.0.0.1:0")
    assert "could listen" in _stweb_fails(*files, "-l", "0.0.0.0:8080")
    assert "belong together" in _stweb_fails(*files, "--tls-cert", identity)
    assert f"two nodes are called {tmp_path.name!r}" in _stweb_fails(*files, "-T", ticket)
    other = ticket.rename(tmp_path / "other.ticket")
    assert "two nodes are called 'other'" in _stweb_fails("-I", identity, "-T", other, "-T", other)
    assert "no certificate" in _stweb_fails(*files, "--tls-cert", identity, "--tls-key", identity)


def test_the_sdk_does_not_load_what_the_extra_brings():
    """An app author and the other programs pay nothing for it."""
    loads = (
        "import sys, offset_ctrl.sdk.node, offset_ctrl.programs.stctrl.cli, offset_ctrl.programs.stweb.cli;"
        "print(sorted({'starlette', 'uvicorn', 'msgspec', 'offset_ctrl.web'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra(monkeypatch, run):
    """It says what to install."""
    for name in [name for name in sys.modules if name.startswith(("offset_ctrl.web", "msgspec"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "offset_ctrl.web.database", None)
    with pytest.raises(OffsetError, match=r"pip install 'offset-ctrl\[web\]'"):
        run("token", "list")
