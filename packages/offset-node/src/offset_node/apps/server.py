"""
The apps of a node: who asked for what, and who is told what. Spec 07 §3.

This is a pure engine. An app is open or gone, and does not come back: one that connects again is another app.

==========  ===================================  ====================================================================
app         what happens                         what comes of it
==========  ===================================  ====================================================================
not there   `AppServer.open_app`                 it is open; its snapshot is given back
open        `AppServer.receive`, granted         the request goes on to whom it concerns; the app waits for its result
open        `AppServer.receive`, refused         an answer that says so; where the protocol has none, the app is gone,
                                                 with `CloseApp`
open        `AppServer.permissions_changed`      it may do more at once; where it may do less, it is gone
open        `AppServer.report`                   it is told what of the report it may see
open        `AppServer.answer`                   it is told the result, if it was the last one to ask for it
open        `AppServer.start_following`          it is told what is open, and each change of that from now on
open        `AppServer.page_read`                it is told the page, which was read of what it may see
open        `AppServer.close_app`                it is gone, and so is all that it waited for (D55)
==========  ===================================  ====================================================================

Rules:

1. Snapshot and registration are one step. So an app is told every change that is not in its snapshot, and none that is.
2. Reports go to all apps, each filtered by what that app may see. A report that carries the id of a request goes to all
   of them even where it is empty: it acknowledges the request.
3. A result goes to one app only, the last one that asked under its id, and at most once for each request.
4. Where a report changes what the node can carry, index servers are told before apps are (spec 07 §3.6).
5. Pages of the history are read for one app at a time no more than `PAGES_MAX`; an app that asks for more is gone.
6. A request of an extension that the node has not announced ends the connection (spec 12 §1).

How it is called: the report is told of changes once they are durable, and in the order in which they happened. Outputs
are passed on in order. Nothing else is expected of the caller; calls about apps that are gone do nothing (D51).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from offset_funder.capacities import Declared, declared_by, diff
from offset_funder.events import AppRequested
from offset_node.apps.outputs import (
    AppId,
    AppServerOutput,
    AskIndexClient,
    ChangeIndexServers,
    CloseApp,
    DeclareCapacities,
    Follow,
    KeepNote,
    ReadPage,
    SendToApp,
    TellFunder,
)
from offset_node.apps.payments_seen import PaymentsSeen
from offset_node.apps.requests import UNANSWERABLE, extension_of
from offset_node.plugins.scope import EVERYTHING, Followed, ReportScope
from offset_node.plugins.ticket import includes
from offset_node.plugins.values import NotGranted, Refusal, Verdict
from offset_proto.errors import InvalidInput
from offset_proto.messages.app import (
    AckClosePayment,
    AddIndexServer,
    AppPermissions,
    AppToAppServer,
    ClientResponseRoutes,
    CreatePayment,
    CreateTransaction,
    Failure,
    RemoveIndexServer,
    ReportMutations,
    RequestClosePayment,
    ResponseClosePayment,
    RoutesFailure,
    TransactionResult,
)
from offset_proto.messages.extensions import (
    Extension,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    GiveUpPayment,
    OpenPayments,
)
from offset_proto.messages.history import FollowHistory, HistoryPage, NoteRequest, ReadHistory, check_note
from offset_proto.messages.index import RequestRoutes
from offset_proto.messages.report import (
    AddFriendReport,
    FunderMutationReport,
    NodeReport,
    PkFriendReportMutation,
    RemoveFriendReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = ["AppServer"]

Result = TransactionResult | ResponseClosePayment | ClientResponseRoutes

PAGES_MAX: Final = 4
"""Pages of the history that are being read for one app; each may have 300 kB."""

Awaited = tuple[type[Result], Uid | PaymentId]
"""A kind of result, and the id that it will carry."""


@dataclass
class _App:
    permissions: AppPermissions
    scope: ReportScope
    key: PublicKey | None
    payments: PaymentsSeen
    awaited: set[Awaited] = field(default_factory=set)
    follows: set[type[Followed]] = field(default_factory=set)
    pages: int = 0


class AppServer:
    """
    The apps of one node.

    Args:
        report: The node's report at start.
        extensions: Of the app protocol, which the node announces.
    """

    def __init__(self, report: NodeReport, extensions: Extension) -> None:
        self.extensions = extensions
        self._report = ReportView(report)
        self._apps: dict[AppId, _App] = {}
        self._last_app_id = 0
        # The payments that apps of limited scope have made, which may outlast a connection.
        self._made_by: dict[PublicKey, set[PaymentId]] = {}
        # Who waits for what, the last one to ask; purged when an app leaves (D55).
        self._awaited_by: dict[Awaited, AppId] = {}

    def open_app(
        self, permissions: AppPermissions, scope: ReportScope = EVERYTHING, key: PublicKey | None = None
    ) -> tuple[AppId, NodeReport]:
        """The app *key* connected, and sees *scope*: its id, and the snapshot that it must be sent before all else."""
        self._last_app_id += 1
        own = set[PaymentId]() if key is None or scope == EVERYTHING else self._made_by.setdefault(key, set())
        self._apps[self._last_app_id] = _App(permissions, scope, key, PaymentsSeen(scope, own))
        return self._last_app_id, scope.filter_report(self._report.snapshot())

    def permissions_of(self, app_id: AppId) -> AppPermissions | None:
        """What the app's ticket allows now; None where it is gone."""
        app = self._apps.get(app_id)
        return None if app is None else app.permissions

    def permissions_changed(self, app_id: AppId, permissions: AppPermissions | None) -> list[AppServerOutput]:
        """
        The app has another ticket, or None. It may do more at once; it is cut off where it may do less.

        An app learns what it may do when it connects, so it has to connect again rather than run into a refusal.
        """
        app = self._apps.get(app_id)
        if app is None or app.permissions == permissions:
            return []
        if permissions is None or not includes(permissions, app.permissions):
            self.close_app(app_id)
            return [CloseApp(app_id, f"the ticket of app {app_id} has changed")]
        app.permissions = permissions
        return []

    def close_app(self, app_id: AppId) -> None:
        """An app left; harmless where it is gone already (D51)."""
        app = self._apps.pop(app_id, None)
        if app is None:
            return
        for awaited in app.awaited:
            if self._awaited_by.get(awaited) == app_id:
                del self._awaited_by[awaited]

    def receive(self, app_id: AppId, message: AppToAppServer, verdict: Verdict) -> list[AppServerOutput]:
        """A request of an app, and what the plugins say of it. Spec 07 §3.3."""
        if app_id not in self._apps:
            return []
        request = message.app_request
        if isinstance(verdict, Refusal):
            return self._refuse(app_id, message, verdict)
        if extension_of(request) not in self.extensions:
            self.close_app(app_id)
            return [CloseApp(app_id, f"app {app_id}: this node did not announce {type(request).__name__}")]
        match request:
            case RequestRoutes():
                self._await(app_id, (ClientResponseRoutes, request.request_id))
                acknowledged = ReportMutations(message.app_request_id, ())
                return [*self._broadcast(acknowledged), AskIndexClient(request)]
            case AddIndexServer() | RemoveIndexServer():
                return [ChangeIndexServers(message.app_request_id, request)]
            case ReadHistory():
                return self._read_page(app_id, request)
            case _ if isinstance(request, NoteRequest):
                return self._keep_note(app_id, message.app_request_id, request)
            case FollowPayments() | FollowInvoices() | FollowHistory() | FollowUnheard():
                return [Follow(app_id, message.app_request_id, request)]
            case CreatePayment(payment_id):
                self._apps[app_id].payments.make(payment_id)
            case AckClosePayment(payment_id):
                self._apps[app_id].payments.acknowledge(payment_id)
            case CreateTransaction():
                self._await(app_id, (TransactionResult, request.request_id))
            case RequestClosePayment(payment_id) | GiveUpPayment(payment_id):
                self._await(app_id, (ResponseClosePayment, payment_id))
        return [TellFunder(AppRequested(message.app_request_id, request, app=self._apps[app_id].key))]

    def _refuse(self, app_id: AppId, message: AppToAppServer, refusal: Refusal) -> list[AppServerOutput]:
        """
        A request that is not carried out.

        What nobody granted ends the connection, as the protocol has it. What a plugin refused is answered in the way of
        a request that failed, where there is one that an app can tell from success; else the connection ends, too.
        """
        request = message.app_request
        if isinstance(refusal, NotGranted) or isinstance(request, UNANSWERABLE):
            self.close_app(app_id)
            return [CloseApp(app_id, f"app {app_id} may not {type(request).__name__}: {refusal.reason}")]
        effects = self._broadcast(ReportMutations(message.app_request_id, ()))
        match request:
            case CreateTransaction():
                effects.append(SendToApp(app_id, TransactionResult(request.request_id, Failure())))
            case RequestRoutes():
                effects.append(SendToApp(app_id, ClientResponseRoutes(request.request_id, RoutesFailure())))
        return effects

    def report(self, message: ReportMutations) -> list[AppServerOutput]:
        """The report changed, or a request is acknowledged; index servers are told before apps. Spec 07 §3.6."""
        touched = _touched_friends(message)
        before = self._declared(touched)
        self._report.apply(message.mutations)
        changes = diff(before, self._declared(touched))
        effects: list[AppServerOutput] = [DeclareCapacities(changes)] if changes else []
        return effects + self._broadcast(message)

    def answer(self, message: Result) -> list[AppServerOutput]:
        """A result for the app that waits for it, if one still does."""
        result_id = message.payment_id if isinstance(message, ResponseClosePayment) else message.request_id
        awaited = (type(message), result_id)
        app_id = self._awaited_by.pop(awaited, None)
        if app_id is None:
            return []
        self._apps[app_id].awaited.discard(awaited)
        return [SendToApp(app_id, message)]

    def _read_page(self, app_id: AppId, request: ReadHistory) -> list[AppServerOutput]:
        app = self._apps[app_id]
        if app.pages == PAGES_MAX:
            self.close_app(app_id)
            return [CloseApp(app_id, f"app {app_id} asks for more than {PAGES_MAX} pages of the history at once")]
        app.pages += 1
        return [ReadPage(app_id, request, app.scope.history)]

    def _keep_note(self, app_id: AppId, app_request_id: Uid, request: NoteRequest) -> list[AppServerOutput]:
        try:
            check_note(request.note)
        except InvalidInput as error:
            self.close_app(app_id)
            return [CloseApp(app_id, f"app {app_id}: {error}")]
        return [KeepNote(app_request_id, request)]

    def page_read(self, app_id: AppId, page: HistoryPage) -> list[AppServerOutput]:
        """A page that an app has asked for, read with the scope of `ReadPage`."""
        app = self._apps.get(app_id)
        if app is None:
            return []
        app.pages -= 1
        return [SendToApp(app_id, app.scope.filter_page(page))]

    def is_followed(self, kind: type[Followed]) -> bool:
        """Whether an app follows what is told in messages of this *kind*."""
        return any(kind in app.follows for app in self._apps.values())

    def start_following(
        self, app_id: AppId, app_request_id: Uid, snapshot: Followed, currencies: Mapping[InvoiceId, Currency]
    ) -> list[AppServerOutput]:
        """
        An app that has asked for it is told how it is now, after its request is acknowledged.

        *currencies* are those of the invoices that the snapshot names as collected.
        """
        effects = self._broadcast(ReportMutations(app_request_id, ()))
        if (app := self._apps.get(app_id)) is not None:
            app.follows.add(type(snapshot))
            effects += self._tell(app_id, snapshot, currencies)
        return effects

    def tell_followers(self, change: Followed, currencies: Mapping[InvoiceId, Currency]) -> list[AppServerOutput]:
        """What is followed has changed; *currencies* are those of the invoices that have ended."""
        effects: list[AppServerOutput] = []
        for app_id, app in self._apps.items():
            if type(change) in app.follows:
                effects += self._tell(app_id, change, currencies)
        return effects

    def _tell(
        self, app_id: AppId, message: Followed, currencies: Mapping[InvoiceId, Currency]
    ) -> list[AppServerOutput]:
        app = self._apps[app_id]
        seen: Followed | None
        if isinstance(message, OpenPayments):
            seen = app.payments.filter(message)
        else:
            seen = app.scope.filter_followed(message, currencies)
        return [] if seen is None else [SendToApp(app_id, seen)]

    def _await(self, app_id: AppId, awaited: Awaited) -> None:
        self._awaited_by[awaited] = app_id
        self._apps[app_id].awaited.add(awaited)

    def _broadcast(self, message: ReportMutations) -> list[AppServerOutput]:
        seen: dict[ReportScope, ReportMutations] = {}
        effects: list[AppServerOutput] = []
        for app_id, app in self._apps.items():
            filtered = message if app.scope is EVERYTHING else seen.get(app.scope)
            if filtered is None:
                mutations = app.scope.filter_mutations(message.mutations)
                filtered = seen[app.scope] = ReportMutations(message.opt_app_request_id, mutations)
            if filtered.mutations or filtered.opt_app_request_id is not None:
                effects.append(SendToApp(app_id, filtered))
        return effects

    def _declared(self, friends: Iterable[PublicKey]) -> Declared:
        view: Declared = {}
        for key in friends:
            if key in self._report.friends:
                view |= declared_by(key, self._report.friends[key])
        return view


def _touched_friends(message: ReportMutations) -> set[PublicKey]:
    touched = set()
    for mutation in message.mutations:
        match mutation:
            case FunderMutationReport(PkFriendReportMutation(key, _) | RemoveFriendReport(key)):
                touched.add(key)
            case FunderMutationReport(AddFriendReport(friend_public_key=key)):
                touched.add(key)
            case _:
                pass
    return touched
