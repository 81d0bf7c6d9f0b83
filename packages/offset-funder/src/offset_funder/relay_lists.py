"""What a friend was told of our relays, and what it may still believe. Spec 05 §11."""

from offset_funder.state import LastSent, NeverSent, SentLocalRelays, Transition
from offset_proto.messages.payment import NamedRelayAddress

__all__ = ["after_reply", "after_reset", "after_send", "is_stale", "relays_of"]

Relays = tuple[NamedRelayAddress, ...]


def is_stale(sent: SentLocalRelays, current: Relays) -> bool:
    """Whether the friend has to be told; names and order count."""
    match sent:
        case NeverSent():
            return True
        case LastSent(last) | Transition(last, _):
            return last != current


def after_send(sent: SentLocalRelays, current: Relays) -> SentLocalRelays:
    """What the friend was told, after a token that carries *current*."""
    match sent:
        case NeverSent():
            return LastSent(current)
        case LastSent(last) | Transition(last, _):
            return Transition(current, last)


def after_reset(sent: SentLocalRelays, current: Relays) -> SentLocalRelays:
    """After a token that starts a channel anew; the friend may know any list that it was sent before."""
    match sent:
        case Transition(last, before_last):
            return Transition(current, last + tuple(relay for relay in before_last if relay not in last))
        case _:
            return after_send(sent, current)


def after_reply(sent: SentLocalRelays) -> SentLocalRelays:
    """After a valid token of the friend, which proves that our last list arrived."""
    return LastSent(sent.last) if isinstance(sent, Transition) else sent


def relays_of(sent: SentLocalRelays) -> Relays:
    """Where the friend may look for us: one entry per key, the newer one first."""
    match sent:
        case NeverSent():
            return ()
        case LastSent(last):
            return last
        case Transition(last, before_last):
            newest: dict[bytes, NamedRelayAddress] = {}
            for relay in last + before_last:
                newest.setdefault(relay.public_key, relay)
            return tuple(sorted(newest.values(), key=lambda relay: relay.public_key))
