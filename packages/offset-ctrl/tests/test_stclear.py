"""The program stclear: files of members in, circles out."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offset_ctrl.programs.stclear import cli, members
from offset_proto.files import FRIEND_TICKET, FriendTicket
from offset_proto.text import format_b64
from offset_proto.types import PublicKey

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs ``stclear plan`` on the test's directory: its status, what it said, and what it complained of."""

    def run_main(*arguments: str, directory: Path = tmp_path, currency: str = "FST") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["stclear", "plan", "-d", str(directory), "-c", currency, *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    return run_main


def _key(name: str) -> PublicKey:
    return PublicKey(name.encode().ljust(PublicKey.SIZE, b"."))


def _friend(name: str, balance: int, **changes: Any) -> dict[str, Any]:
    """A friend as ``stctrl info friends --json`` prints it."""
    config = {"currency": "FST", "rate": {"mul": 0, "add": 0}, "remote_max_debt": "0", "is_open": True}
    pending = {"local_pending_debt": "0", "remote_pending_debt": "0"}
    return {
        "name": name,
        "public_key": format_b64(_key(name)),
        "enabled": True,
        "online": True,
        "relays": [],
        "currency_configs": [config],
        "channel": "consistent",
        "balances": [{"currency": "FST", "balance": str(balance), **pending}],
        **changes,
    }


def _export(directory: Path, name: str, *friends: dict[str, Any]) -> None:
    """The two files of a member."""
    FRIEND_TICKET.save(directory / f"{name}.friend", FriendTicket(_key(name), ()))
    (directory / f"{name}.json").write_text(json.dumps(friends))


@pytest.fixture
def triangle(tmp_path: Path) -> Path:
    """alice owes bob 30, bob owes carol 20, carol owes alice 50."""
    _export(tmp_path, "alice", _friend("bob", -30), _friend("carol", 50))
    _export(tmp_path, "bob", _friend("alice", 30), _friend("carol", -20))
    _export(tmp_path, "carol", _friend("alice", -50), _friend("bob", 20))
    return tmp_path


def test_the_plan_as_json(run, triangle):
    """Each member with what it owes and is owed, before and after, and the circles to pay; amounts are texts."""
    status, said, complaint = run("--json")
    assert (status, complaint) == (0, "")
    plan = json.loads(said)
    assert plan["currency"] == "FST"
    assert plan["debts"] == {"before": "100", "after": "40", "clearable": "60"}
    alice, bob, carol = plan["members"]
    assert alice == {
        "name": "alice",
        "public_key": format_b64(_key("alice")),
        "owes": {"before": "30", "after": "10"},
        "is_owed": {"before": "50", "after": "30"},
        "friends_without_export": 0,
        "circles": [
            {
                "number": 1,
                "amount": "20",
                "fees": "0",
                "route": [format_b64(_key(name)) for name in ("alice", "carol", "bob", "alice")],
                "names": ["alice", "carol", "bob", "alice"],
            }
        ],
    }
    assert bob["circles"] == carol["circles"] == []
    assert plan["disagreements"] == plan["hindrances"] == plan["left_out"] == []


def test_the_plan_in_words(run, triangle):
    """A person reads totals, a table of the members and one of the circles, and no heading of what there is not."""
    status, said, _ = run()
    assert status == 0
    assert "Debts of 3 members in FST: 100 before, 40 after." in said
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("|")]
    assert rows[1] == ["alice", "30", "10", "50", "30", "1", format_b64(_key("alice"))]
    assert rows[-1] == ["alice", "1", "20", "0", "alice > carol > bob > alice"]
    assert said.count("\n\n") == 3


def test_who_does_not_pay(run, triangle):
    """Another member pays; where nobody is left who could, that is said."""
    assert json.loads(run("--json", "-m", "alice", "-m", "bob")[1])["members"][2]["circles"][0]["names"] == [
        "carol",
        "bob",
        "alice",
        "carol",
    ]
    status, said, _ = run("-m", "alice", "-m", "bob", "-m", "carol")
    assert status == 0
    assert "There is no circle to pay." in said
    assert "- 20 around alice > bob > carol: none of its members can pay it." in said
    status, _, complaint = run("-m", "dave")
    assert status == 1
    assert "--mediator dave: there is no dave.json" in complaint


def test_exports_of_different_times(run, triangle):
    """Both names and both values are told, and the smaller debt counts."""
    (triangle / "bob.json").write_text(json.dumps([_friend("alice", 30), _friend("carol", -5)]))
    plan = json.loads(run("--json")[1])
    assert plan["disagreements"] == [{"between": ["bob", "carol"], "balances": ["-5", "20"]}]
    assert plan["members"][0]["circles"][0]["amount"] == "5"
    assert "- bob says: I owe carol 5; carol says: bob owes me 20." in run()[1]
    (triangle / "bob.json").write_text(json.dumps([_friend("alice", 30)]))
    assert "- bob has no ledger with carol; carol says: bob owes me 20." in run()[1]


def test_what_can_not_be_cleared(run, triangle):
    """A closed currency, an inconsistent channel, a friend who exported nothing: each is told with its names."""
    closed = [{"currency": "FST", "rate": {"mul": 0, "add": 0}, "remote_max_debt": "0", "is_open": False}]
    broken = {"channel": "inconsistent", "local_reset_terms": [], "remote_reset_terms": None}
    friends = [_friend("bob", -30, currency_configs=closed), _friend("carol", 50, **broken), _friend("zoe", 7)]
    (triangle / "alice.json").write_text(json.dumps(friends))
    status, said, _ = run()
    assert status == 0
    assert "- alice and bob: the currency is closed on one side; open it" in said
    assert "- alice and carol: their channel is inconsistent" in said
    assert "- alice: 1" in said


def test_fees(run, triangle):
    """Two of three charge 3 credits: the circle costs that, which has to be allowed."""
    charged = [{"currency": "FST", "rate": {"mul": 0, "add": 3}, "remote_max_debt": "9", "is_open": True}]
    for name, friends in (("alice", {"bob": -30, "carol": 50}), ("bob", {"alice": 30, "carol": -20})):
        made = [_friend(friend, balance, currency_configs=charged) for friend, balance in friends.items()]
        (triangle / f"{name}.json").write_text(json.dumps(made))
    assert "it would cost more than allowed" in run("-f", "2")[1]
    assert json.loads(run("--json", "-f", "3")[1])["members"][0]["circles"][0]["fees"] == "3"


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).write_text(text) and None


def _friends(name: str, *friends: dict[str, Any]) -> Callable[[Path], None]:
    return _write(name, json.dumps(friends))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda d: (d / "bob.json").unlink(), "has no bob.json: let bob make it with stctrl info friends --json"),
        (lambda d: (d / "bob.friend").unlink(), "has no bob.friend: let bob make it with stctrl info export-ticket"),
        (_write("bob.json", "No configured friends."), "Expecting value at line 1 column 1"),
        (_write("bob.json", "{}"), "bob.json is not what stctrl info friends --json prints for bob: expected an array"),
        (_write("bob.json", "[7]"), "[0]: expected an object"),
        (_friends("bob.json", _friend("alice", 3), {"name": "carol"}), "[1]: missing field `public_key`"),
        (_friends("bob.json", _friend("bob", 3)), "[0]: the member is a friend of its own: export and ticket are not"),
        (_friends("bob.json", _friend("alice", 3), _friend("alice", 3)), "[1]: public_key: a friend that is listed"),
        (_friends("bob.json", _friend("alice", 3, channel="new")), "[0]: channel: expected consistent or inconsistent"),
        (_friends("bob.json", _friend("alice", 3, balances=None)), "[0]: balances: expected an array"),
        (_friends("bob.json", _friend("alice", 2**127)), "[0]: balances: [0]: balance: number too large"),
        (_write("bob.json", "x" * 5_000_000), "bob.json: more than 4194304 bytes"),
        (_write("bob.friend", "{}"), "bob.friend: missing field"),
        (
            lambda d: [(d / f"bob{end}").write_bytes((d / f"alice{end}").read_bytes()) for end in (".friend", ".json")],
            "alice.friend and bob.friend are tickets of one node",
        ),
        (lambda d: [path.unlink() for path in d.glob("bob.*")], "has files of 2 members; a plan is for 3 to 1000"),
    ],
)
def test_bad_files(run, triangle, spoil, complaint):
    """One line says which file is wrong, where, and what to do; the status is 1, and nothing is planned."""
    spoil(triangle)
    status, said, complained = run()
    assert (status, said) == (1, "")
    assert complaint in complained
    assert len(complained.splitlines()) == 1


def test_limits(run, triangle, monkeypatch):
    """More members or friends than can be planned are refused before any work."""
    monkeypatch.setattr(members, "LEDGERS_MAX", 6)
    assert run()[0] == 0
    monkeypatch.setattr(members, "LEDGERS_MAX", 5)
    assert "the exports list more than 5 friends: plan with fewer members" in run()[2]
    monkeypatch.setattr(members, "MEMBERS_MAX", 2)
    assert "has files of 3 members; a plan is for 3 to 2" in run()[2]


def test_no_such_directory_or_currency(run, triangle):
    """A wrong place or name is an error, and no empty plan."""
    for asked, expected in (
        ({"directory": triangle / "none"}, "none: No such file"),
        ({"currency": "USD"}, "nobody has a ledger in the currency 'USD'"),
        ({"currency": "x" * 17}, "CurrencyNameTooLong"),
    ):
        status, said, complaint = run(**asked)
        assert (status, said) == (1, "")
        assert expected in complaint
