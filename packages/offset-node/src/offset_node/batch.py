"""
What goes into a batch of the node's engine, and what comes of it. Pure.

`offset_node.engine` says how a batch is made, stored and shown. A `Batch` is all that is seen of it before it is
stored; `Handled` is the engine's own, and holds the effects until then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from offset_funder import effects as funder_effects
from offset_funder.bookkeeping import Entry
from offset_funder.effects import Occurrence, SendToApps
from offset_funder.engine import Outcome
from offset_funder.events import AppRequested, Event
from offset_node import state
from offset_node.apps.outputs import ChangeIndexServers, Follow, KeepNote
from offset_node.plugins.scope import Followed
from offset_node.state import IndexServerMutation, Mutation, PendingTimeMutation, PluginMutation, SetAsker, SetNote
from offset_proto.errors import PeerError, RefusedError
from offset_proto.messages.app import AddIndexServer, AddInvoice, CreatePayment, ReportMutations
from offset_proto.messages.extensions import AddExpiringInvoice
from offset_proto.messages.history import EntryKind, NoteEntry, NoteInvoice, NotePayment
from offset_proto.types import Currency, InvoiceId, PublicKey

__all__ = [
    "Batch",
    "BatchEffect",
    "Handled",
    "NodeEvent",
    "ReportIndexServers",
    "TellFollowers",
    "TellSnapshot",
    "TimesChanged",
    "index_mutation",
    "keep_note",
]


_PAYMENTS: Final = {EntryKind.PAID, EntryKind.RECEIVED, EntryKind.FORWARDED}


@dataclass(frozen=True, slots=True)
class TimesChanged:
    """A look at what is pending has something to store."""

    mutations: tuple[PendingTimeMutation, ...]


NodeEvent = Event | ChangeIndexServers | Follow | KeepNote | TimesChanged
"""
What waits in the inbox: an event of the funder; a request to change the list of index servers, to follow what is open,
or to keep a note; times to be stored.
"""


@dataclass(frozen=True, slots=True)
class ReportIndexServers:
    """A change of index servers is durable: tell the apps, then connect or disconnect. Spec 06 §7.8."""

    change: ChangeIndexServers


@dataclass(frozen=True, slots=True)
class TellSnapshot:
    """
    What an app asked to follow is durable as it was then: tell it.

    *currencies* are those of the invoices that the message names by their ids alone, for apps that do not see all.
    """

    follow: Follow
    message: Followed
    currencies: Mapping[InvoiceId, Currency]


@dataclass(frozen=True, slots=True)
class TellFollowers:
    """A change of what is followed is durable: tell those who follow. The rest is as with `TellSnapshot`."""

    message: Followed
    currencies: Mapping[InvoiceId, Currency]


BatchEffect = funder_effects.Effect | ReportIndexServers | TellSnapshot | TellFollowers
"""What follows from a batch once it is stored: for the outside, or for the engines inside."""


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """
    Events that were handled together. It has no effects: those come from `NodeEngine.stored`.

    Attributes:
        mutations: To be stored in order, all or nothing; may be empty. What later ones take back is not among them.
        refused: For the log: events that were dropped or refused, and why.
        notes: For the log: what else is worth knowing; no secrets.
    """

    mutations: tuple[Mutation, ...]
    refused: tuple[tuple[Event, PeerError | RefusedError], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Handled:
    """What the events of the batch under way come to."""

    mutations: list[Mutation] = field(default_factory=list)
    effects: list[BatchEffect] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    recorded: list[PluginMutation] = field(default_factory=list)
    entries: list[tuple[Entry, PublicKey | None]] = field(default_factory=list)
    askers: list[SetAsker] = field(default_factory=list)
    refused: list[tuple[Event, PeerError | RefusedError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    batch: Batch | None = None

    def take(self, event: Event | None, outcome: Outcome) -> None:
        """Add what an event comes to; None: what was held back until the end of the batch."""
        app = event.app if isinstance(event, AppRequested) else None
        self.mutations += outcome.mutations
        self.effects += outcome.effects
        self.occurrences += outcome.occurrences
        self.notes += outcome.notes
        # Who collects an invoice, or sees a payment through, is not who asked for it: those have askers of their own.
        self.entries += [(entry, None if entry.kind in _PAYMENTS else app) for entry in outcome.entries]
        if app is not None and outcome.error is None and isinstance(event, AppRequested):
            match event.request:
                case CreatePayment(payment_id=subject) | AddInvoice(invoice_id=subject):
                    self.askers.append(SetAsker(subject, app))
                case AddExpiringInvoice(invoice_id=subject):
                    self.askers.append(SetAsker(subject, app))


def index_mutation(change: ChangeIndexServers) -> IndexServerMutation:
    """What is to be stored of a request to change the list of index servers."""
    match change.request:
        case AddIndexServer(server):
            return state.AddIndexServer(server)
        case removed:
            return state.RemoveIndexServer(removed.public_key)


def keep_note(handled: Handled, wanted: KeepNote) -> None:
    """Have a note stored, and the request acknowledged then."""
    match wanted.request:
        case NoteInvoice(subject, note) | NotePayment(subject, note) | NoteEntry(subject, note):
            handled.mutations.append(SetNote(subject, note))
    handled.effects.append(SendToApps(ReportMutations(wanted.app_request_id, ())))
