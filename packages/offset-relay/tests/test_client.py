"""Who may have a tunnel. Spec 03 §5.2."""

from offset_proto.messages.relay import IncomingConnection, RejectConnection
from offset_proto.types import PublicKey
from offset_relay.client import AcceptTunnel, Listener, SendReject

FRIEND, STRANGER = PublicKey(b"\x01" * 32), PublicKey(b"\x02" * 32)


def test_only_allowed_keys_are_accepted() -> None:
    """And what is allowed is asked each time."""
    allowed = {FRIEND}
    listener = Listener(allowed.__contains__)
    assert listener.receive(IncomingConnection(STRANGER)) == SendReject(RejectConnection(STRANGER))
    assert listener.receive(IncomingConnection(FRIEND)) == AcceptTunnel(FRIEND)
    allowed.clear()
    listener.accept_ended(FRIEND, accepted=True)
    assert listener.receive(IncomingConnection(FRIEND)) == SendReject(RejectConnection(FRIEND))


def test_one_accept_for_a_key_at_a_time() -> None:
    """D20: a relay that announces the same key again and again opens one link."""
    listener = Listener(lambda _: True)
    assert listener.receive(IncomingConnection(FRIEND)) == AcceptTunnel(FRIEND)
    assert listener.receive(IncomingConnection(FRIEND)) is None
    assert listener.accept_ended(FRIEND, accepted=True) is None
    assert listener.receive(IncomingConnection(FRIEND)) == AcceptTunnel(FRIEND)


def test_a_failed_accept_is_rejected() -> None:
    """The connector need not wait until its half tunnel expires."""
    listener = Listener(lambda _: True)
    listener.receive(IncomingConnection(FRIEND))
    assert listener.accept_ended(FRIEND, accepted=False) == SendReject(RejectConnection(FRIEND))
    assert listener.receive(IncomingConnection(FRIEND)) == AcceptTunnel(FRIEND)
