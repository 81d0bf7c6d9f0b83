"""
The funder: events in, mutations and effects out. Spec 05 §1.

A pure engine: no clock, no disk, no network; randomness and signing are handed in. One event is handled
as a whole or not at all. The order of what comes out of it (spec 05 §1.2 [BEHAVIOUR]):

1. mutations, to be made durable as one batch before anything below is performed;
2. channeler configuration, of the handler and then of the sender; then messages to friends;
3. one report to the apps, if something changed or an app asked; then results of requests.
"""

from dataclasses import dataclass
from typing import assert_never

from offset_crypto.identity import Identity
from offset_crypto.secure_channel import RandomBytes
from offset_funder import routing, seller
from offset_funder.bookkeeping import Entry
from offset_funder.control import handle_request, set_relays
from offset_funder.effects import Effect, Occurrence, SendToApps
from offset_funder.events import (
    AppRequested,
    Event,
    FriendMessageReceived,
    FriendSilent,
    FriendWentOffline,
    FriendWentOnline,
    InvoiceExpired,
    Started,
)
from offset_funder.friend_messages import handle_friend_message, handle_silence
from offset_funder.mutations import Mutation
from offset_funder.open_requests import OpenRequests, rebuild
from offset_funder.reports import derive_report_mutations
from offset_funder.sender import send_all
from offset_funder.session import ControlError, SendFlags, Session, Surroundings, TokenAtHand
from offset_funder.state import FunderState
from offset_proto.errors import PeerError, RefusedError, invariant
from offset_proto.message import replace
from offset_proto.messages.app import ReportMutations
from offset_proto.messages.report import FriendLivenessReport
from offset_proto.types import PublicKey

__all__ = ["Funder", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What an event comes to.

    Attributes:
        mutations: To be stored, in order, as one batch.
        effects: To be performed afterwards, in order.
        error: Why an event of a friend was dropped, or a request of an app refused.
        notes: For the log; no secrets.
        occurrences: For whoever watches the node, in order.
        entries: What changed the balances with friends and why, in order; to be stored with the mutations.
    """

    mutations: tuple[Mutation, ...] = ()
    effects: tuple[Effect, ...] = ()
    error: PeerError | RefusedError | None = None
    notes: tuple[str, ...] = ()
    occurrences: tuple[Occurrence, ...] = ()
    entries: tuple[Entry, ...] = ()


class Funder:
    """
    One node's funder.

    Args:
        state: As stored.
        identity: Signs; must be the identity of *state*.
        random_bytes: Source of nonces, locks and ids.
        returns_tokens: Return the token to a friend as soon as it has answered a request, even with nothing to say:
            it needs it to collect, and would have to ask for it first. The original waits to be asked.
    """

    def __init__(
        self, state: FunderState, identity: Identity, random_bytes: RandomBytes, *, returns_tokens: bool = False
    ) -> None:
        invariant(state.local_public_key == identity.public_key, "state and identity belong together")
        self.state = state
        self.online: frozenset[PublicKey] = frozenset()
        self._held: dict[PublicKey, SendFlags] = {}
        self._open_requests = rebuild(state)
        self._surroundings = Surroundings(identity, random_bytes, returns_tokens)

    @property
    def open_requests(self) -> OpenRequests:
        """Where each open request came from and went to, as the last event left it."""
        return self._open_requests

    def handle(self, event: Event, *, hold: bool = False) -> Outcome:
        """
        Handle one event.

        Args:
            event: What reached the node.
            hold: Keep what is to be sent to friends until `send_held`, so that the events of a batch share tokens.
        """
        session = self._new_session()
        error: PeerError | RefusedError | None = None
        try:
            self._dispatch(session, event)
        except ControlError as refused:
            if not isinstance(event, AppRequested):
                return Outcome(error=refused)
            error = refused  # the app is answered all the same
        except PeerError as dropped:
            return Outcome(error=dropped)
        # The order is free; the original signs the last one first (spec 05 §8.3).
        for draft in reversed(session.responses):
            seller.sign_response(session, draft)
        if hold:
            self._held, session.flags = session.flags, {}
        else:
            self._held = {}
            send_all(session)
        return self._finish(session, event, error)

    def send_held(self) -> Outcome:
        """Send to friends what the events of a batch have left to be sent."""
        if not self._held:
            return Outcome()
        session = self._new_session()
        self._held = {}
        send_all(session)
        return self._finish(session, None, None)

    def _new_session(self) -> Session:
        session = Session(self.state, self._open_requests, self.online, self._surroundings)
        session.flags = {public_key: replace(flags) for public_key, flags in self._held.items()}
        return session

    def _dispatch(self, session: Session, event: Event) -> None:
        match event:
            case Started():
                set_relays(session)
                for public_key in session.state.friends:
                    session.update_channeler(public_key)
            case AppRequested(_, request, now):
                handle_request(session, request, now)
            case InvoiceExpired(invoice_id, now):
                seller.expire_invoice(session, invoice_id, now)
            case FriendWentOnline(public_key):
                _go_online(session, public_key)
            case FriendWentOffline(public_key):
                session.online -= {public_key}
                if public_key in session.state.friends:
                    routing.cancel_queued(session, public_key)
            case FriendSilent(public_key):
                handle_silence(session, public_key)
            case FriendMessageReceived(public_key, message, refused):
                session.token = TokenAtHand(refused)
                handle_friend_message(session, public_key, message)
            case _:
                assert_never(event)

    def _finish(self, session: Session, event: Event | None, error: PeerError | RefusedError | None) -> Outcome:
        liveness = [
            (key, FriendLivenessReport.ONLINE if key in session.online else FriendLivenessReport.OFFLINE)
            for key in session.online ^ self.online
        ]
        if isinstance(event, FriendWentOffline) and not liveness:
            liveness = [(event.public_key, FriendLivenessReport.OFFLINE)]
        reported = derive_report_mutations(session.outputs.mutations, session.state, liveness)
        self.state, self._open_requests, self.online = session.state, session.open_requests, session.online
        effects: list[Effect] = [*session.outputs.channeler, *session.outputs.friend_messages]
        app_request_id = event.app_request_id if isinstance(event, AppRequested) else None
        if reported or app_request_id is not None:
            effects.append(SendToApps(ReportMutations(app_request_id, reported)))
        effects += [SendToApps(result) for result in session.outputs.results]
        return Outcome(
            tuple(session.outputs.mutations),
            tuple(effects),
            error,
            tuple(session.outputs.notes),
            tuple(session.outputs.occurrences),
            tuple(session.outputs.entries),
        )


def _go_online(session: Session, public_key: PublicKey) -> None:
    if not session.friend(public_key).is_enabled:
        raise ControlError("FriendIsDisabled")
    if public_key in session.online:
        raise ControlError("FriendAlreadyOnline")
    session.online |= {public_key}
    session.try_send(public_key).resend_outgoing = True
