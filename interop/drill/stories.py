"""
What is lost, what is done about it, and what must be true in the end.

======================  =========================================  ===================================================
story                   what is left                               by
======================  =========================================  ===================================================
`lose_database`         the words, and a contact list              ``setup-node --recover``, ``stctrl recover``
`lose_recent`           the words, and a backup that is old        ``setup-node --backup``, ``stctrl recover``
`lose_key`              nothing but the friends                    ``stctrl friend move`` of each friend
======================  =========================================  ===================================================

Payments pass before, while the machine is lost and while it is made good. `check_accounts` judges each story: for each
friend the history of Alice's node begins with the balance that was accepted, what it tells of payments since then comes
to the balance of now, and the friend says the same.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from interop.drill.payments import Payments
from interop.drill.telling import Log
from interop.drill.village import ALICE, CURRENCY, FRIENDS, LIMIT, Village
from interop.programs import OURS, CommandFailed, wait_until

__all__ = ["STORIES", "Drill", "DrillFailed"]

PATIENCE: Final = 120.0
"""Seconds for a friend's node to be there again, and for what is under way to arrive."""

NOT_FINISHED: Final = 3
"""Status of a command that waits for somebody."""


class DrillFailed(Exception):
    """Something that must be true after a story is not."""


@dataclass
class Account:
    """What is known of one friend in a story; balances are seen from Alice."""

    listed: int | None = None
    said: int | None = None
    accepted: int | None = None
    was_reset: bool = False


@dataclass
class Drill:
    """
    The village, its payments, and how long they pass before something is lost.

    Attributes:
        village: Alice and her friends.
        payments: Pass all the time.
        log: Is told what happens.
        seconds: For which payments pass before each loss, at least.
        paying: Friends that pay Alice by hand after each loss; she pays the first of them.
        times: By story: seconds from the loss until all balances are back, and until a payment has passed.
    """

    village: Village
    payments: Payments
    log: Log
    seconds: float
    paying: tuple[str, ...] = FRIENDS
    times: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def loss(self, story: str) -> Iterator[None]:
        """Alice's machine is lost under load. The block brings the balances back; then she pays and is paid."""
        before = self.payments.ended["paid"]
        time.sleep(self.seconds)
        wait_until("payments to pass", lambda: self.payments.ended["paid"] > before, PATIENCE)
        self.village.lose(ALICE)
        began = self.log.seconds
        yield
        balances = self.log.seconds - began
        self.log.note(f"{balances:.0f} seconds after the loss all balances are back")
        self.village.pay(self.paying[0], ALICE, 2)
        self.times[story] = balances, self.log.seconds - began
        self.log.note(f"{self.times[story][1]:.0f} seconds after the loss a payment has passed")
        for friend in self.paying[1:]:
            self.village.pay(friend, ALICE, 2)
        self.village.pay(ALICE, self.paying[0], 1)

    # Judging.

    def check_accounts(self, accounts: Mapping[str, Account]) -> None:
        """Raises DrillFailed where the balances are not what was accepted and paid since, seen from both sides."""
        self.payments.stop()
        wait_until("both sides of each friendship to say the same", lambda: not self._differences(), PATIENCE)
        rows = [self._judged(friend, account) for friend, account in accounts.items()]
        titles = ["friend", "known before", "the friend says", "accepted", "paid since", "Alice has", "the friend has"]
        self.log.table([*titles, "difference"], rows)
        differences = sum(abs(row[-1]) for row in rows)
        ended = ", ".join(f"{count} {how}" for how, count in sorted(self.payments.ended.items()))
        self.log.note(f"sum of differences: {differences}; other payments: {ended}")
        if differences:
            raise DrillFailed(f"the balances differ by {differences} from what was accepted and paid since")
        self.payments.ended.clear()
        self.payments.start()

    def _judged(self, friend: str, account: Account) -> list[Any]:
        here, there = self.village.balance(ALICE, friend), self.village.balance(friend, ALICE)
        if here is None or there is None or account.accepted is None:
            raise DrillFailed(f"there is no balance with {friend}")
        paid = _told(_entries(self.village, friend)) - account.accepted
        difference = abs(here + there) + abs(account.accepted + paid - here)
        return [friend, account.listed, account.said, account.accepted, paid, here, there, difference]

    def _differences(self) -> list[str]:
        views = {name: self.village.friends(name) for name in (ALICE, *FRIENDS)}

        def owes(name: str, friend: str) -> list[int]:
            return [int(entry["balance"]) for entry in views[name][friend].get("balances", [])]

        return [friend for friend in FRIENDS if owes(ALICE, friend) != [-it for it in owes(friend, ALICE)]]


def _entries(village: Village, friend: str) -> list[dict[str, Any]]:
    """The history of Alice's node with a friend after the last reset, or all of it where there was none."""
    words = ["history", "--friend", friend, "--currency", CURRENCY, "--json", "--limit", 100_000]
    entries: list[dict[str, Any]] = json.loads(OURS.run("stctrl", "-C", village.home(ALICE), *words).stdout)
    resets = [number for number, entry in enumerate(entries) if entry["kind"] == "reset"]
    return entries[resets[-1] :] if resets else entries


def _told(entries: list[dict[str, Any]]) -> int:
    """What the history comes to: from the last reset on, or from the beginning, where the balance was 0."""
    first = entries[:1]
    began = int(first[0]["balance"]) if first and first[0]["kind"] == "reset" else 0
    return began + sum(int(entry["change"]) for entry in entries if entry["kind"] != "reset")


# The database is lost.


def lose_database(drill: Drill, words: str) -> None:
    """From the words and a contact list that is older than the last payments."""
    village = drill.village
    identity, contacts = village.safe / "alice-1.ident", village.safe / "alice-1.contacts"
    village.run("stmgr", "contacts", "-d", village.home(ALICE) / "node.db", "-o", contacts)
    with drill.loss("lost database"):
        village.run("stmgr", "ident-from-words", "-o", identity, given=words)
        village.run("stmgr", "setup-node", village.home(ALICE), "--idfile", identity, "--recover")
        village.start(ALICE)
        accounts = _recover(drill, contacts)
    drill.check_accounts(accounts)


def _recover(drill: Drill, contacts: Path) -> dict[str, Account]:
    """Friends again: first those that say what the list says, then, after a talk with each of the others, all."""
    village = drill.village
    listed = json.loads(contacts.read_text())["friends"]
    accounts = {friend["name"]: Account(_balance_of(friend["currencies"])) for friend in listed}
    _until_finished(drill, "recover", contacts)
    for name, friend in village.friends(ALICE).items():
        terms = friend.get("remote_reset_terms")
        account = accounts[name]
        if terms is None:  # it is where the backup is, and payments have gone on since
            account.said = account.accepted = account.listed
            continue
        account.said, account.was_reset = -_balance_of(terms), True
        asks = village.friends(name)[ALICE]["local_reset_terms"]
        if _balance_of(asks) != -account.said:
            raise DrillFailed(f"{name} asks for {asks}, and Alice is shown {terms}")
    _until_finished(drill, "recover", contacts, "--accept", "agreeing")
    drill.log.note("Alice talks to those whose terms differ, and accepts them")
    result = _until_finished(drill, "recover", contacts, "--accept", "all")
    if result != 0:
        raise DrillFailed("not all friends are back")
    for name, account in accounts.items():
        if not account.was_reset:
            continue
        account.accepted = int(_entries(village, name)[0]["balance"])
        if account.accepted != account.said:
            raise DrillFailed(f"{name} said {account.said}, and {account.accepted} was accepted")
    return accounts


def _balance_of(entries: list[dict[str, Any]]) -> int:
    return next((int(entry["balance"]) for entry in entries if entry["currency"] == CURRENCY), 0)


def _until_finished(drill: Drill, *words: object) -> int:
    """Give a command again, while it waits for a friend; its last status."""
    for _ in range(3):
        result = drill.village.stctrl(ALICE, *words, check=False)
        drill.log.said(result.stdout)
        if result.returncode not in (0, NOT_FINISHED):
            raise CommandFailed(words, result)
        if "waiting" not in result.stdout:
            break
    return result.returncode


# What came after a backup is lost.


def lose_recent(drill: Drill, words: str) -> None:
    """From the words and a backup; payments were made since then with most of the friends."""
    village = drill.village
    identity, backup, contacts = (village.safe / f"alice-2.{kind}" for kind in ("ident", "backup", "contacts"))
    village.run("stmgr", "backup", "-d", village.home(ALICE) / "node.db", "-o", backup)
    with drill.loss("old backup"):
        village.run("stmgr", "ident-from-words", "-o", identity, given=words)
        village.run("stmgr", "contacts", "-d", backup, "-o", contacts)
        village.run("stmgr", "setup-node", village.home(ALICE), "--idfile", identity, "--backup", backup)
        logged = len(village.node_log(ALICE))
        village.start(ALICE)
        for friend in FRIENDS:
            wait_until(f"{friend} to be heard", partial(_is_heard, village, friend, logged), PATIENCE)
        drill.log.said("\n".join(line for line in village.node_log(ALICE)[logged:].splitlines() if "friend '" in line))
        accounts = _recover(drill, contacts)
    drill.check_accounts(accounts)


def _is_heard(village: Village, friend: str, logged: int) -> bool:
    log = village.node_log(ALICE)[logged:]
    return f"friend '{friend}' is heard" in log or f"friend '{friend}' is not where" in log


# The key is lost.


def lose_key(drill: Drill, words: str) -> None:
    """With nothing but the friends, each of whom moves the account to a new key; nobody has the old words."""
    village = drill.village
    with drill.loss("lost key"):
        village.move_to(ALICE, f"{ALICE}-new")
        village.set_up_node(ALICE)
        ticket = village.directory / f"{ALICE}-new.friend"
        village.stctrl(ALICE, "friend", "invite", "-o", ticket)
        accounts = {}
        with drill.payments.held() if village.players else nullcontext():
            # A node of the original keeps no history, so nobody else may pay through the new friend before the end.
            for friend in FRIENDS:
                accounts[friend] = _move(drill, friend, ticket)
    drill.check_accounts(accounts)


def _move(drill: Drill, friend: str, ticket: Path) -> Account:
    """The account of Alice at one friend moves to her new key."""
    village = drill.village
    known = village.balance(friend, ALICE) or 0
    papers = village.directory / f"move-{friend}"
    moving = ["friend", "move", ALICE, ticket, "--journal", papers]
    drill.log.said(village.stctrl(friend, *moving, "--count-frozen", "--dry-run").stdout)
    _moves(village, friend, *moving, "--count-frozen", "--timeout", 5)
    old = next(entry for entry in village.friends(friend)[ALICE]["balances"] if entry["currency"] == CURRENCY)
    moved = int(old["balance"]) + int(old["remote_pending_debt"])
    village.stctrl(
        ALICE, "friend", "add", village.ticket(friend), "--name", friend, "--open", CURRENCY, "--limit", LIMIT
    )
    invoice, commit = papers / f"{CURRENCY}.invoice", papers / f"{CURRENCY}.commit"
    if moved < 0:
        village.stctrl(ALICE, "seller", "create-invoice", "-c", CURRENCY, "-a", -moved, "-i", invoice)
    if moved:
        _moves(village, friend, *moving)
    if moved < 0:
        village.stctrl(ALICE, "seller", "commit-invoice", "-i", invoice, "-c", commit)
    elif moved > 0:
        payment = village.directory / f"move-{friend}.payment"
        village.stctrl(ALICE, "buyer", "pay-invoice", "-i", invoice, "-p", payment, "-c", commit, "--direct")
    if _moves(village, friend, *moving) != 0:
        raise DrillFailed(f"the account at {friend} has not moved")
    village.stctrl(friend, *moving, "--remove-old")
    account = Account(-known, -moved, -moved)
    if moved:
        invoice_id = json.loads(invoice.read_text())["invoice_id"]
        paid = [int(entry["change"]) for entry in _entries(village, friend) if entry["invoice_id"] == invoice_id]
        if sum(paid) != account.accepted:
            raise DrillFailed(f"{account.accepted} were to move to the account at {friend}, and {paid} did")
    return account


def _moves(village: Village, friend: str, *words: object) -> int:
    """Let a friend go on with the move; whether it has to go on later."""
    result = village.stctrl(friend, *words, check=False)
    if result.returncode not in (0, NOT_FINISHED):
        raise CommandFailed(words, result)
    return result.returncode


STORIES: Final[Mapping[str, Callable[[Drill, str], None]]] = {
    "database": lose_database,
    "backup": lose_recent,
    "key": lose_key,
}
"""By name, in the order in which they are lived through."""
