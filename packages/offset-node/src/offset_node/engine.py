"""
The node as a pure engine: what is handled together, what is stored, and what is seen afterwards. Spec 07 §6, §7.2.

The engine has no socket, database, clock or randomness of its own. `offset_node.node` runs it on sockets and on a
database, `offset_node.simulation` in networks that have neither; what the simulation shows about it is therefore true
of the program stnode.

Inside it are four engines, and it passes what one of them says on to the others:

==============  ==================================================================================
`Funder`        friends, tokens and payments: the only one whose state is stored
`Channeler`     which links to friends and relays to keep up
`AppServer`     which app is told what
`IndexClient`   which index server to use, and what to declare to it
==============  ==================================================================================

`offset_node.waiting` reads the funder's state for those who ask what is open and since when.

Events wait in an inbox until they are handled as a batch. The engine is in one of two states:

==========  =======================  ===============================================================  ==========
state       call                     what it does                                                     next state
==========  =======================  ===============================================================  ==========
idle        ``next_batch()``         handles the events that wait, at most `BATCH_EVENTS_MAX`         under way
under way   ``stored(batch)``        takes the word that the batch is durable, and gives its effects  idle
either      ``put(event)``           adds an event to the inbox                                       the same
either      ``follow(outputs)``      passes on what one of the engines inside said                    the same
==========  =======================  ===============================================================  ==========

Rules:

1. *Durable before visible.* A `Batch` holds mutations and no effects. The effects stay inside until `stored` is called
   with that very batch, so that nothing can leave the node that a crash could take back.
2. There is one batch at a time. `next_batch` and `stored` raise `InvariantBroken` for any other order of calls.
3. Effects come in the order of their events, and are to be performed in that order. A change of index servers keeps
   its place among them. Last come the tokens that the events of the batch share, and what plugins are told.
4. A batch that can not be stored ends the engine: its funder is ahead of the database. A new engine starts from what
   is stored; peers repeat what they had no answer to.

How it is called::

    while engine.waiting:
        batch = engine.next_batch()
        if batch.mutations:
            store(batch.mutations)  # all or nothing, and durable when this returns
        effects.perform(engine.stored(batch))  # an offset_node.effects.EffectQueue

Ticks, and news of links and apps, go to `NodeEngine.channeler`, `NodeEngine.index` and `NodeEngine.apps` at any time:
they change nothing that is stored. What those answer goes through `follow`::

    effects.perform(engine.follow(engine.channeler.tick()))
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from offset_crypto.identity import Identity
from offset_crypto.secure_channel import RandomBytes
from offset_funder.effects import ForgetFriend, Occurrence, SendFriendMessage, SendToApps, SetRelays, UpdateFriend
from offset_funder.engine import Funder
from offset_funder.events import Event, FriendWentOffline, FriendWentOnline, Started
from offset_funder.reports import initial_report
from offset_funder.state import FunderState
from offset_index import client as index_client
from offset_index.client import ConnectedServerChanged, IndexClient, RespondRoutes
from offset_node.apps.outputs import (
    AppServerOutput,
    AskIndexClient,
    ChangeIndexServers,
    DeclareCapacities,
    Follow,
    KeepNote,
    TellFunder,
)
from offset_node.apps.server import AppServer
from offset_node.batch import (
    Batch,
    BatchEffect,
    Handled,
    NodeEvent,
    ReportIndexServers,
    TellFollowers,
    TellSnapshot,
    TimesChanged,
    index_mutation,
    keep_note,
)
from offset_node.counts import NodeCounts
from offset_node.effects import NodeEffect, TellOccurrences, TellTransactionEnded
from offset_node.lasting import lasting
from offset_node.links.channeler import Channeler, ChannelerOutput, ReportOffline, ReportOnline
from offset_node.links.token_watch import LOOK_TICKS, TokenWatch
from offset_node.links.unheard_watch import UnheardWatch
from offset_node.plugins.scope import Followed
from offset_node.state import AddEntry, BookMutation, NodeState, PluginMutation
from offset_node.waiting.watch import WaitingWatch
from offset_proto.errors import InvariantBroken, invariant
from offset_proto.message import replace
from offset_proto.messages import app as app_messages
from offset_proto.messages.app import ReportMutations, ResponseClosePayment, TransactionResult
from offset_proto.messages.extensions import (
    ALL_EXTENSIONS,
    Extension,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    OpenInvoices,
    OpenPayments,
    UnheardFriends,
)
from offset_proto.messages.history import FollowHistory, HistoryEnd
from offset_proto.messages.report import (
    AddIndexServerReport,
    IndexClientMutationReport,
    RemoveIndexServerReport,
    SetConnectedServer,
)
from offset_proto.types import U64, PublicKey

__all__ = ["BATCH_EVENTS_MAX", "NodeCounts", "NodeEngine", "Output"]

BATCH_EVENTS_MAX = 256
"""Events that are stored together, with one disk sync."""

Output = ChannelerOutput | AppServerOutput | index_client.Effect
"""What the engines inside say to each other and to the outside; the funder's effects are not among it."""


_NO_HISTORY: Final = HistoryEnd(0, 0)


def _record_nothing(occurrences: Sequence[Occurrence]) -> Sequence[PluginMutation]:
    return ()


class NodeEngine:
    """
    One node; the essay above says how it is used.

    Args:
        state: As stored.
        identity: Signs; must be the identity of *state*.
        random_bytes: Source of nonces, locks, ids and jitter.
        record: Says what plugins want to be stored of occurrences, in the batch that these come from.
        now: Seconds since 1970.
        extensions: Of the app protocol, which apps may use. Without `Extension.HISTORY` no history is kept.
        history: How far the history goes that is stored, and which one it is.

    Attributes:
        channeler: Told what becomes of links and attempts, and of ticks.
        apps: Told which apps come and go, and what they ask for.
        index: Told what becomes of the link to an index server, what that says, and of ticks.
        counts: For metrics.
    """

    def __init__(
        self,
        state: NodeState,
        identity: Identity,
        random_bytes: RandomBytes,
        record: Callable[[Sequence[Occurrence]], Sequence[PluginMutation]] = _record_nothing,
        *,
        now: U64 = 0,
        extensions: Extension = ALL_EXTENSIONS,
        history: HistoryEnd = _NO_HISTORY,
    ) -> None:
        self.channeler = Channeler(identity.public_key, random_bytes)
        self.apps = AppServer(initial_report(state.funder, state.index_servers), extensions)
        self.index = IndexClient(state.index_servers, identity, random_bytes)
        self.counts = NodeCounts()
        self._funder = Funder(state.funder, identity, random_bytes, returns_tokens=True)
        self._record = record
        self._token_watch = TokenWatch()
        self._unheard_watch = UnheardWatch(state.funder)
        self.counts.friends_unheard = self._unheard_watch.unheard
        self._waiting = WaitingWatch(state, now)
        self._history = history
        self._ticks = 0
        self._inbox: deque[NodeEvent] = deque([Started()])
        self._under_way: Handled | None = None

    @property
    def online(self) -> frozenset[PublicKey]:
        """The friends that have a link."""
        return frozenset(self._funder.online)

    @property
    def waiting(self) -> int:
        """The number of events in the inbox."""
        return len(self._inbox)

    @property
    def funder_state(self) -> FunderState:
        """The funder's state with the batch under way; for comparison with what is stored, and figures."""
        return self._funder.state

    def put(self, event: NodeEvent) -> None:
        """Add an event to the inbox."""
        self._inbox.append(event)

    def tick(self, now: U64) -> list[str]:
        """
        A tick has passed, and it is *now*, in seconds since 1970.

        Returns:
            Warnings for the log: friends that do not answer, credits that have been frozen for long.
        """
        self._ticks += 1
        expired, looked = self._waiting.tick(self._funder, now)
        self._inbox.extend(expired)
        if looked.mutations:
            self.put(TimesChanged(looked.mutations))
        self.counts.long_pending = self._waiting.long_pending
        warnings = [*looked.warnings]
        if self._ticks % LOOK_TICKS == 1:
            warnings += self._token_watch.look(self._funder.state, self._funder.online)
            self.counts.friends_overdue = self._token_watch.overdue
            warnings += self._unheard_watch.look(self._funder.state, self._funder.online)
            self._inbox.extend(self._unheard_watch.silent)
            self.counts.friends_unheard = self._unheard_watch.unheard
        return warnings

    # Batches.

    def next_batch(self) -> Batch:
        """
        Handle the events that wait, at most `BATCH_EVENTS_MAX`.

        Raises:
            InvariantBroken: The batch before has not been stored, or a rule of the funder does not hold.
        """
        invariant(self._under_way is None, "the batch under way is stored before the next one is taken")
        handled = self._under_way = Handled()
        before = self._funder.state
        for kind in (OpenPayments, OpenInvoices, UnheardFriends):
            if not self.apps.is_followed(kind):
                self._waiting.stop_following(kind)
        count = min(len(self._inbox), BATCH_EVENTS_MAX)
        for _ in range(count):
            event = self._inbox.popleft()
            match event:
                case ChangeIndexServers():
                    handled.mutations.append(index_mutation(event))
                    handled.effects.append(ReportIndexServers(event))
                case Follow(_, _, request):
                    snapshot = self._snapshot(request)
                    handled.effects.append(TellSnapshot(event, snapshot, self._waiting.currencies))
                case KeepNote():
                    keep_note(handled, event)
                case TimesChanged(mutations):
                    handled.mutations += mutations
                case _:
                    self._handle(handled, event, hold=count > 1)
        sent = self._funder.send_held()
        self._waiting.observe(self._funder, None, sent)
        handled.take(None, sent)
        changes = self._waiting.changes(self._funder)
        handled.effects += [TellFollowers(change, self._waiting.currencies) for change in changes]
        self.counts.events += count
        self.counts.mutations += len(handled.mutations)
        if handled.occurrences:
            handled.recorded += self._record(handled.occurrences)
        stored = (*lasting(before, handled.mutations), *self._book(handled), *handled.recorded)
        handled.batch = Batch(stored, tuple(handled.refused), tuple(handled.notes))
        return handled.batch

    def _snapshot(self, request: FollowPayments | FollowInvoices | FollowHistory | FollowUnheard) -> Followed:
        if isinstance(request, FollowHistory):
            return self._history
        return self._waiting.follow(request, self._funder)

    def _book(self, handled: Handled) -> list[BookMutation]:
        """Number the entries of a batch; those who follow the history are told how far it goes."""
        if Extension.HISTORY not in self.apps.extensions:
            return []
        if not handled.entries:
            return [*handled.askers]
        first = self._history.end + 1
        self._history = replace(self._history, end=self._history.end + len(handled.entries))
        handled.effects.append(TellFollowers(self._history, {}))
        numbered = enumerate(handled.entries, first)
        entries = [AddEntry(number, self._waiting.now, entry, app) for number, (entry, app) in numbered]
        return [*handled.askers, *entries]

    def _handle(self, handled: Handled, event: Event, *, hold: bool) -> None:
        outcome = self._funder.handle(event, hold=hold)
        self._waiting.observe(self._funder, event, outcome)
        handled.take(event, outcome)
        if outcome.error is not None:
            self.counts.refused_events += 1
            handled.refused.append((event, outcome.error))

    def stored(self, batch: Batch) -> list[NodeEffect]:
        """
        The effects of a batch that is durable, to be performed in order.

        Args:
            batch: What `next_batch` gave last.

        Raises:
            InvariantBroken: It is not the batch under way.
        """
        handled = self._under_way
        if handled is None or handled.batch is not batch:
            raise InvariantBroken("only the batch under way can have been stored")
        self._under_way = None
        outside: list[NodeEffect] = []
        self._pass_on(handled.effects, outside)
        if handled.occurrences:
            outside.append(TellOccurrences(tuple(handled.occurrences), tuple(handled.recorded)))
        self._count(handled)
        return outside

    def _count(self, handled: Handled) -> None:
        counts = self.counts
        counts.take(handled.mutations, handled.occurrences)
        counts.inbox = len(self._inbox)
        counts.friends_online = len(self._funder.online)

    # What the engines inside say to each other.

    def follow(self, outputs: Iterable[Output]) -> list[NodeEffect]:
        """
        Pass on what `channeler`, `apps` or `index` said.

        Returns:
            What is left to the outside, to be performed in order.
        """
        outside: list[NodeEffect] = []
        self._pass_on(outputs, outside)
        return outside

    def _pass_on(self, outputs: Iterable[Output | BatchEffect], outside: list[NodeEffect]) -> None:
        """Depth first: what follows from one output comes before the next output. Events only reach the inbox."""
        for output in outputs:
            match output:
                case SendFriendMessage():
                    outside.append(output)
                case SendToApps(message):
                    self._tell_apps(message, outside)
                case SetRelays(relays):
                    self._pass_on(self.channeler.set_relays(relays), outside)
                case UpdateFriend(public_key, friend_relays, local_relays):
                    self._pass_on(self.channeler.update_friend(public_key, friend_relays, local_relays), outside)
                case ForgetFriend(public_key):
                    self._pass_on(self.channeler.remove_friend(public_key), outside)
                case ReportIndexServers(change):
                    self._report_index_servers(change, outside)
                case ReportOnline(friend):
                    self.put(FriendWentOnline(friend))
                case ReportOffline(friend):
                    self.put(FriendWentOffline(friend))
                case TellSnapshot(Follow(app_id, app_request_id, _), message, currencies):
                    self._pass_on(self.apps.start_following(app_id, app_request_id, message, currencies), outside)
                case TellFollowers(message, currencies):
                    self._pass_on(self.apps.tell_followers(message, currencies), outside)
                case TellFunder(event):
                    self.put(replace(event, now=self._waiting.now))
                case ChangeIndexServers() | Follow() | KeepNote():
                    self.put(output)
                case AskIndexClient(request):
                    self._pass_on(self.index.request_routes(request), outside)
                case DeclareCapacities(mutations):
                    self._pass_on(self.index.apply_mutations(mutations), outside)
                case ConnectedServerChanged(server):
                    connected = IndexClientMutationReport(SetConnectedServer(server))
                    self._pass_on(self.apps.report(ReportMutations(None, (connected,))), outside)
                case RespondRoutes(response):
                    self._pass_on(self.apps.answer(response), outside)
                case _:
                    outside.append(output)

    def _tell_apps(
        self, message: ReportMutations | TransactionResult | ResponseClosePayment, outside: list[NodeEffect]
    ) -> None:
        if isinstance(message, ReportMutations):
            self._pass_on(self.apps.report(message), outside)
            return
        if isinstance(message, TransactionResult):
            outside.append(TellTransactionEnded(message))
        self._pass_on(self.apps.answer(message), outside)

    def _report_index_servers(self, change: ChangeIndexServers, outside: list[NodeEffect]) -> None:
        outputs: list[index_client.Effect]
        match change.request:
            case app_messages.AddIndexServer(server):
                report = IndexClientMutationReport(AddIndexServerReport(server))
                outputs = self.index.add_server(server)
            case removed:
                report = IndexClientMutationReport(RemoveIndexServerReport(removed.public_key))
                outputs = self.index.remove_server(removed.public_key)
        self._pass_on(self.apps.report(ReportMutations(change.app_request_id, (report,))), outside)
        self._pass_on(outputs, outside)
