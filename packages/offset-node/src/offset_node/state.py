"""
What a node remembers, and every change of it. Pure.

A node's state is its funder's state and its list of index servers. Plugins keep records of their own beside it; the
engines never look at those, so `NodeState` does not hold them, but they are stored in the same transactions. So is the
history, which has no end.

=======================================================  ==============================================
mutation                                                 changes
=======================================================  ==============================================
`offset_funder.mutations.Mutation`                       the funder's state
`AddIndexServer`, `RemoveIndexServer`                    the list of index servers
`SetPluginValue`, `RemovePluginValue`                    the values that a plugin keeps
`AddPluginEvent`, `RemovePluginEvent`                    the events that a plugin has not taken yet
`SetPendingSince`, `RemovePendingSince`                  since when requests that are old have been pending
`AddEntry`                                               the history, which grows at its end and never changes
`BeginTimeline`                                          which history it is, once the node has forgotten some of it
`SetNote`                                                what the owner noted to a payment, an invoice or an entry
`SetAsker`                                               which app made a payment or an invoice
=======================================================  ==============================================

`apply` is the only writer: databases that hold the state as a value, simulations and tests use it, and what the
rows of a database come to is compared with it.
"""

from dataclasses import dataclass

from immutables import Map

from offset_funder import mutations as funder_mutations
from offset_funder.bookkeeping import Entry
from offset_funder.ledger import Side
from offset_funder.state import FunderState
from offset_proto.message import replace
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import U64, Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = [
    "WHOLE_HISTORY",
    "AddEntry",
    "AddIndexServer",
    "AddPluginEvent",
    "BeginTimeline",
    "BookMutation",
    "HistoryScope",
    "IndexServerMutation",
    "Mutation",
    "NodeState",
    "PendingKey",
    "PendingTimeMutation",
    "PluginMutation",
    "PluginRecords",
    "RemoveIndexServer",
    "RemovePendingSince",
    "RemovePluginEvent",
    "RemovePluginValue",
    "SetAsker",
    "SetNote",
    "SetPendingSince",
    "SetPluginValue",
    "StateMutation",
    "apply",
]


PendingKey = tuple[PublicKey, Currency, Side, Uid]
"""A pending transaction: the friend, the currency, whose request it is, its id."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """
    All that a node remembers.

    Attributes:
        funder: Its funder's state.
        index_servers: In the order in which they are tried.
        pending_since: Of transactions that have been pending for long, since when, in seconds since 1970. A time may
            stay here for a moment after its transaction has ended.
    """

    funder: FunderState
    index_servers: tuple[NamedIndexServerAddress, ...] = ()
    pending_since: "Map[PendingKey, U64]" = Map()


@dataclass(frozen=True, slots=True)
class AddIndexServer:
    """Put a server at the end of the list; a server of the same key that is there already is removed first."""

    server: NamedIndexServerAddress


@dataclass(frozen=True, slots=True)
class RemoveIndexServer:
    """Take a server out of the list; no effect where the key is unknown."""

    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class SetPendingSince:
    """A transaction has been pending for long: since when, in seconds since 1970."""

    key: PendingKey
    since: U64


@dataclass(frozen=True, slots=True)
class RemovePendingSince:
    """The transaction has ended, or went with its channel."""

    key: PendingKey


@dataclass(frozen=True, slots=True)
class SetPluginValue:
    """A plugin keeps a value of its own."""

    plugin: str
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class RemovePluginValue:
    """A plugin does not need a value any more."""

    plugin: str
    key: str


@dataclass(frozen=True, slots=True)
class AddPluginEvent:
    """A plugin is to be told of an event; *arguments* is JSON. Told at least once, whatever happens to the process."""

    position: int
    plugin: str
    hook: str
    arguments: str


@dataclass(frozen=True, slots=True)
class RemovePluginEvent:
    """The plugin has taken the event."""

    position: int


@dataclass(frozen=True, slots=True)
class AddEntry:
    """
    The history goes on.

    Attributes:
        number: One more than that of the entry before it; the first one is 1.
        time: Seconds since 1970.
        entry: What happened.
        app: That asked for the change of a setting, which is what the entry is about; else None.
    """

    number: U64
    time: U64
    entry: Entry
    app: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class BeginTimeline:
    """
    The node has forgotten entries, whose numbers will be given again.

    Attributes:
        timeline: Tells the history from the one that the node had before; drawn at random, not 0.
    """

    timeline: U64


@dataclass(frozen=True, slots=True)
class SetNote:
    """
    The owner noted something.

    Attributes:
        subject: The invoice, the payment, or the number of the entry that it is about.
        note: Instead of what was noted before; empty: nothing any more.
    """

    subject: InvoiceId | PaymentId | U64
    note: str


@dataclass(frozen=True, slots=True)
class SetAsker:
    """An app has made a payment or an invoice; where one is known already for the id, it stays."""

    subject: InvoiceId | PaymentId
    app: PublicKey


@dataclass(frozen=True, slots=True)
class HistoryScope:
    """
    The entries of the history that somebody gets to see.

    Attributes:
        friends, currencies: Of these only; None: of all.
    """

    friends: frozenset[PublicKey] | None = None
    currencies: frozenset[Currency] | None = None


WHOLE_HISTORY = HistoryScope()
"""The scope that leaves nothing out."""

IndexServerMutation = AddIndexServer | RemoveIndexServer

PendingTimeMutation = SetPendingSince | RemovePendingSince

PluginMutation = SetPluginValue | RemovePluginValue | AddPluginEvent | RemovePluginEvent

StateMutation = funder_mutations.Mutation | IndexServerMutation | PendingTimeMutation
"""Whatever changes a `NodeState`: a mutation of the funder, of the list of index servers, or of the times."""

BookMutation = AddEntry | BeginTimeline | SetNote | SetAsker
"""Whatever changes the history and what belongs to it."""

Mutation = StateMutation | PluginMutation | BookMutation
"""Whatever a batch may store."""


@dataclass(frozen=True, slots=True)
class PluginRecords:
    """What is stored for plugins: values by plugin and key, events in the order of their positions."""

    values: dict[str, dict[str, bytes]]
    events: list[AddPluginEvent]


def apply(state: NodeState, mutation: StateMutation) -> NodeState:
    """
    The state after one mutation.

    Raises:
        InvariantBroken: The mutation does not fit the state: our own defect.
    """
    match mutation:
        case AddIndexServer(server):
            return replace(state, index_servers=(*_without(state, server.public_key), server))
        case RemoveIndexServer(public_key):
            return replace(state, index_servers=_without(state, public_key))
        case SetPendingSince(key, since):
            return replace(state, pending_since=state.pending_since.set(key, since))
        case RemovePendingSince(key):
            return replace(state, pending_since=state.pending_since.delete(key))
        case _:
            return replace(state, funder=funder_mutations.apply(state.funder, mutation))


def _without(state: NodeState, public_key: PublicKey) -> tuple[NamedIndexServerAddress, ...]:
    return tuple(server for server in state.index_servers if server.public_key != public_key)
