"""
From facts about a node to findings: what `stctrl doctor` says. Pure.

Whoever looks collects `Facts`: what the node tells, which servers answer, what is in the database, the clock. Each part
may be missing, because the node can not be reached, or the database is on another machine; then the rest is judged all
the same. Where the node is not reached and its database is at hand, friends and servers are those of the database.

A server that does not answer is worth attention while another one of its kind does, and broken where none does. Tickets
of relays and of index servers look alike, and one key may be of both; so what answers may be the wrong one of the two,
and the node would wait for it for ever. So a server is known by its key and address together, and by its manners.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from offset_ctrl.rules.findings import Finding, Severity, command, is_nearly, short_key
from offset_ctrl.rules.friendships import Frozen, judge_credits, judge_friend
from offset_proto.limits import NODE_RELAYS_MAX, PENDING_TRANSACTIONS_MAX, PENDING_USER_REQUESTS_MAX
from offset_proto.messages.extensions import Extension
from offset_proto.messages.payment import RelayAddress
from offset_proto.report_view import ReportView
from offset_proto.types import NetAddress, PublicKey

__all__ = ["DatabaseFacts", "Facts", "Manners", "NodeFacts", "ServerFacts", "diagnose", "mistaken"]

DAY: Final = 24 * 3600

BACKUP_OLD_SECONDS: Final = 7 * DAY

DISK_BYTES_LOW: Final = 1024 * 1024 * 1024
DISK_BYTES_OUT: Final = 64 * 1024 * 1024
"""Free space: where it is less, the owner is told, or the node is about to stop."""

CLOCK_SECONDS: Final = 60
"""By so much the clocks of the node and of this machine may differ."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """
    What is known of the node.

    Attributes:
        report: Its report.
        is_live: It was asked now; otherwise the report is what it would say if it started from its database.
        extensions: What it can do beyond the original's protocol.
        frozen: Requests of its own payments that hold credits frozen; None: it does not tell.
        queued: Of its own payments, the number of requests that wait for each friend to be sent to.
        latest: The latest moment that it told, in seconds since 1970, by its clock; 0: none.
        unheard: Friends that have to speak first; None: it does not tell.
    """

    report: ReportView
    is_live: bool
    extensions: Extension = Extension(0)
    frozen: tuple[Frozen, ...] | None = None
    queued: tuple[tuple[PublicKey, int], ...] = ()
    latest: int = 0
    unheard: frozenset[PublicKey] | None = None


class Manners(enum.Enum):
    """
    As what a server behaves to a stranger who proves a key and says nothing; the value says it to people.

    Attributes:
        RELAY: It waits for the stranger's first message (spec 03 §4.1).
        INDEX_SERVER: It tells the hash of the tick (spec 06 §5.7).
        CLOSED: It closes the link at once, as those do who talk to nobody unknown.
    """

    RELAY = "answers as a relay does"
    INDEX_SERVER = "answers as an index server does"
    CLOSED = "closes the link at once, as a node does at its address for apps, or an index server at that for others"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """
    Whether a server answered.

    Attributes:
        public_key, address: Whom to expect, and where.
        problem: Why it was not reached, or did not prove its key; None: it answered.
        is_tried: False: nobody tried, and *problem* says why.
        manners: As what it answered; None: that is not known.
    """

    public_key: PublicKey
    address: NetAddress
    problem: str | None
    is_tried: bool = True
    manners: Manners | None = None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """
    What is known of the database.

    Attributes:
        path: Its file, for people.
        problem: What is wrong with it; None: it is whole.
        is_checked: False: it could not be looked into, and *problem* says why.
        size: In bytes; 0: not known.
        disk_free: Bytes that are free on its disk.
        backup_age: Seconds since the last backup; None: none is known.
        entries: Of the history.
        frozen: Requests that hold credits frozen, also those that were forwarded; None: not known.
        pending: The number of requests that are open with each friend.
        unheard: Friends that have to speak first.
        is_database: False: the file is not the database of the node, or not there, and *problem* says which.
    """

    path: str
    problem: str | None
    is_checked: bool
    size: int
    disk_free: int
    backup_age: int | None = None
    entries: int = 0
    frozen: tuple[Frozen, ...] | None = None
    pending: tuple[tuple[PublicKey, int], ...] = ()
    unheard: frozenset[PublicKey] = frozenset()
    is_database: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """
    All that was seen.

    Attributes:
        now: Seconds since 1970, by the clock here.
        node: None where nothing is known of it.
        node_problem: Why it could not be asked; None: it was.
        servers: Those that were tried; relays of friends among them.
        database: None where it is not at hand.
        is_clock_set: Whether the system says that its clock is synchronised; None: it does not tell.
        stctrl: With what commands for this node begin: the program, and how it was told which node that is.
        configuration: File with which the node is started; None: it is not known.
    """

    now: int
    node: NodeFacts | None
    node_problem: str | None
    servers: tuple[ServerFacts, ...] = ()
    database: DatabaseFacts | None = None
    is_clock_set: bool | None = None
    stctrl: tuple[str, ...] = ("stctrl",)
    configuration: str | None = None


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """All findings, in the order of a page: the node, its friends and credits, servers, clock, database, limits."""
    return (
        *_judge_node(facts),
        *_judge_friends(facts),
        *_judge_servers(facts),
        *_judge_clock(facts),
        *_judge_rest(facts),
    )


def _judge_node(facts: Facts) -> Iterator[Finding]:
    if facts.node_problem is not None:
        words = f"the node can not be asked: {facts.node_problem}"
        starts = command("stnode", "--config", facts.configuration or "DIR/node.toml")
        remedy = f"Start it ({starts}), and look at its log; or name another one: stctrl -C DIR doctor"
        yield Finding("node", Severity.BROKEN, words, remedy)
    if facts.node is not None and facts.node.is_live:
        kind = (
            "one of this program" if facts.node.extensions else "one of the original, or an older one of this program"
        )
        key = short_key(facts.node.report.local_public_key)
        yield Finding("node", Severity.FINE, f"the node {key} answers; it is {kind}")


def _judge_friends(facts: Facts) -> Iterator[Finding]:
    node, database = facts.node, facts.database
    if node is None:
        return
    unheard = node.unheard
    if unheard is None:
        unheard = frozenset() if database is None else database.unheard
    unreached = {
        RelayAddress(each.public_key, each.address): problem
        for each in facts.servers
        if each.is_tried and (problem := each.problem or mistaken(each, Manners.RELAY)) is not None
    }
    for key, friend in sorted(node.report.friends.items(), key=lambda item: (item[1].name, item[0])):
        is_heard = key not in unheard
        yield from judge_friend(
            friend, is_live=node.is_live, is_heard=is_heard, unreached=unreached, stctrl=facts.stctrl
        )
    if not node.report.friends:
        invites = command(*facts.stctrl, "friend", "invite", "-o", "my.friend")
        adds = command(*facts.stctrl, "friend", "add", "THEIR.friend", "--name", "NAME", "--open", "CURRENCY")
        remedy = f"{invites} writes what a friend needs, and {adds} takes what the friend wrote."
        yield Finding("friends", Severity.ATTENTION, "there are no friends, so nothing can be paid", remedy)
    stored = None if database is None else database.frozen
    frozen = node.frozen if stored is None else stored
    yield from judge_credits(node.report, frozen, now=facts.now, knows_forwarded=stored is not None)


def mistaken(server: ServerFacts, wanted: Manners) -> str | None:
    """What answers instead of a server of the manners that are *wanted*, in words; None: such a one, or nobody."""
    return None if server.manners in (None, wanted) else f"it {server.manners.value}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How servers of one kind are spoken of: manners, names, the commands for them, and what is missing without one."""

    manners: Manners
    name: str
    one: str
    adds: tuple[str, ...]
    removes: str
    without: str


_RELAYS: Final = _Kind(
    Manners.RELAY,
    "relay",
    "one of a relay",
    ("add-relay", "-r", "TICKET"),
    "remove-relay",
    "friends can not reach this node",
)
_INDEX_SERVERS: Final = _Kind(
    Manners.INDEX_SERVER,
    "index server",
    "one of an index server",
    ("add-index", "-i", "TICKET"),
    "remove-index",
    "only friends can be paid, by --direct",
)


def _judge_servers(facts: Facts) -> Iterator[Finding]:
    if facts.node is None:
        return
    report, tried = facts.node.report, {(each.public_key, each.address): each for each in facts.servers}
    relays = [(relay.name, tried.get((relay.public_key, relay.address))) for relay in report.relays]
    yield from _judge_kind(_RELAYS, relays, facts.stctrl)
    indexes = [(server.name, tried.get((server.public_key, server.address))) for server in report.index_servers]
    yield from _judge_kind(_INDEX_SERVERS, indexes, facts.stctrl)
    if facts.node.is_live and report.index_servers and report.connected_server is None:
        words = "the node is connected to no index server, so it finds no routes now"
        yield Finding("index servers", Severity.ATTENTION, words, "It tries again by itself, one after the other.")


def _judge_kind(
    kind: _Kind, servers: list[tuple[str, ServerFacts | None]], stctrl: tuple[str, ...]
) -> Iterator[Finding]:
    about = f"{kind.name}s"
    if not servers:
        words = f"there is no {kind.name}, so {kind.without}"
        yield Finding(about, Severity.ATTENTION, words, command(*stctrl, "config", *kind.adds, "-n", "NAME"))
    some_answer = any(
        found is not None and found.problem is None and mistaken(found, kind.manners) is None for _, found in servers
    )
    for name, found in servers:
        if found is not None:
            yield _judge_server(kind, name, found, stctrl, some_answer=some_answer)


def _judge_server(kind: _Kind, name: str, found: ServerFacts, stctrl: tuple[str, ...], *, some_answer: bool) -> Finding:
    about, where = f"{kind.name}s", f"{kind.name} {name} at {found.address}, key {short_key(found.public_key)}"
    removes = command(*stctrl, "config", kind.removes, "-n", name)
    other = mistaken(found, kind.manners)
    if found.problem is not None and not found.is_tried:
        return Finding(about, Severity.FINE, f"{where}, was not tried: {found.problem}")
    if found.problem is not None:
        words, remedy = f"{where}, is not reached: {found.problem}", f"Ask who runs it; where it is gone: {removes}"
    elif other is not None:
        words = f"{where}, is no {kind.name}: {other}; the node waits for it in vain"
        adds = command(*stctrl, "config", *kind.adds, "-n", name)
        remedy = f"Give its ticket where it belongs, and here {kind.one}: {removes}, then {adds}"
    else:
        return Finding(about, Severity.FINE, f"{where}, answers")
    severity = Severity.ATTENTION if some_answer else Severity.BROKEN
    return Finding(about, severity, words if some_answer else f"{words}; {kind.without}", remedy)


def _judge_clock(facts: Facts) -> Iterator[Finding]:
    ahead = 0 if facts.node is None else facts.node.latest - facts.now
    if ahead > CLOCK_SECONDS:
        words = f"the clock of the node is at least {ahead} s ahead of the clock here"
        remedy = "Ends of invoices and times of the history go by the clock of the node: look which one is wrong."
        yield Finding("clock", Severity.ATTENTION, words, remedy)
    if facts.is_clock_set is not None:
        severity = Severity.FINE if facts.is_clock_set else Severity.ATTENTION
        words = f"by the system, the clock here is {'' if facts.is_clock_set else 'not '}synchronised"
        remedy = "" if facts.is_clock_set else "Let chrony or systemd-timesyncd set it."
        yield Finding("clock", severity, words, remedy)


def _judge_rest(facts: Facts) -> Iterator[Finding]:
    database = facts.database
    if database is not None:
        yield from _judge_database(database, facts.stctrl)
        if database.is_database:
            yield from _judge_disk(database)
    if facts.node is None:
        return
    relays = len(facts.node.report.relays)
    if is_nearly(relays, NODE_RELAYS_MAX):
        yield Finding("limits", Severity.ATTENTION, f"{relays} relays of at most {NODE_RELAYS_MAX} are in use")
    friends = facts.node.report.friends
    counted = [(facts.node.queued, "of your payments wait to be sent to", PENDING_USER_REQUESTS_MAX)]
    if database is not None:
        counted.append((database.pending, "are open with", PENDING_TRANSACTIONS_MAX))
    for counts, what, limit in counted:
        for key, count in counts:
            if is_nearly(count, limit):
                name = friends[key].name if key in friends else short_key(key)
                words = f"{count} requests {what} {name}, of at most {limit}; further ones are refused"
                yield Finding("limits", Severity.ATTENTION, words, "They end when sellers answer or cancel.")


def _judge_database(database: DatabaseFacts, stctrl: tuple[str, ...]) -> Iterator[Finding]:
    if not database.is_database:
        words = f"{database.path} is not the database of the node ({database.problem})"
        names = command(*stctrl, "doctor", "-d", "DIR/node.db")
        yield Finding("database", Severity.BROKEN, words, f"Name the database of the node: {names}")
        return
    if not database.is_checked:
        yield Finding("database", Severity.FINE, f"{database.path} was not checked: {database.problem}")
        return
    if database.problem is not None:
        restores = command("stmgr", "restore", "-i", "BACKUP", "-o", "NEW.db")
        remedy = f"Stop the node, keep the file, and do not change it; then restore the newest backup: {restores}"
        yield Finding("database", Severity.BROKEN, f"the database is not whole: {database.problem}", remedy)
        return
    words = f"{database.path} is whole: {database.size} bytes, {database.entries} entries of the history"
    yield Finding("database", Severity.FINE, words)
    backs_up = command("stmgr", "backup", "-d", database.path, "-o", "FILE")
    if database.backup_age is None:
        yield Finding("backup", Severity.ATTENTION, "no backup of the database is known", backs_up)
    elif database.backup_age > BACKUP_OLD_SECONDS:
        days = database.backup_age // DAY
        yield Finding("backup", Severity.ATTENTION, f"the last backup is {days} days old", backs_up)
    else:
        yield Finding("backup", Severity.FINE, f"the last backup is {database.backup_age // 3600} hours old")


def _judge_disk(database: DatabaseFacts) -> Iterator[Finding]:
    free = database.disk_free
    words = f"{free // 1024**2} MiB are free on the disk of the database"
    if free < DISK_BYTES_OUT:
        yield Finding("disk", Severity.BROKEN, words, "Make room now: a node that can not store anything ends.")
    elif free < max(DISK_BYTES_LOW, 2 * database.size):
        yield Finding("disk", Severity.ATTENTION, words, "Make room.")
    else:
        yield Finding("disk", Severity.FINE, words)
