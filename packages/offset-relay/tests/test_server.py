"""The relay's engine. Spec 03 §4 and the cases of §10."""

import pytest

from offset_proto.limits import (
    HALF_TUNNEL_BYTES_MAX,
    HALF_TUNNEL_MESSAGES_MAX,
    HALF_TUNNEL_TICKS,
    LISTENER_NOTICES_MAX,
    RELAY_FIRST_MESSAGE_TICKS,
)
from offset_proto.messages.relay import Accept, Connect, IncomingConnection, Listen, RejectConnection
from offset_proto.types import PublicKey
from offset_relay.server import CloseLink, Effect, JoinLinks, NotifyListener, Refusal, RelayServer

B, C, D = (PublicKey(bytes([value]) * 32) for value in (0xBB, 0xCC, 0xDD))


def _first(relay: RelayServer, link: str, key: PublicKey, message: Listen | Connect | Accept) -> list[Effect]:
    relay.open_link(link)
    return relay.receive_first(link, key, message)


@pytest.fixture
def relay() -> RelayServer:
    """A relay where B listens."""
    made = RelayServer()
    assert _first(made, "listen", B, Listen()) == []
    return made


def test_a_tunnel(relay: RelayServer) -> None:
    """The listener is told; what the connector sent before it is accepted comes first, in order."""
    assert _first(relay, "connect", C, Connect(B)) == [NotifyListener("listen", IncomingConnection(C))]
    assert relay.is_waiting("connect")
    assert relay.receive_pending("connect", b"1") == relay.receive_pending("connect", b"2") == []
    assert _first(relay, "accept", B, Accept(C)) == [JoinLinks("connect", "accept", (b"1", b"2"))]
    assert not relay.is_waiting("connect")
    assert relay.is_listener("listen")


def test_refusals(relay: RelayServer) -> None:
    """Nobody listens; a second listen loses; an accept of nobody; a second half tunnel of the same pair."""
    assert _first(relay, "x1", C, Connect(D)) == [CloseLink("x1", Refusal.NO_LISTENER)]
    assert _first(relay, "x2", B, Listen()) == [CloseLink("x2", Refusal.LISTENS_ALREADY)]
    assert _first(relay, "x3", B, Accept(C)) == [CloseLink("x3", Refusal.NOBODY_WAITS)]
    assert _first(relay, "x4", D, Accept(C)) == [CloseLink("x4", Refusal.NOBODY_WAITS)]
    _first(relay, "connect", C, Connect(B))
    assert _first(relay, "x5", C, Connect(B)) == [CloseLink("x5", Refusal.WAITS_ALREADY)]
    assert _first(relay, "accept", B, Accept(C)) == [JoinLinks("connect", "accept", ())]


def test_connect_again_while_a_tunnel_lives(relay: RelayServer) -> None:
    """A restarted connector is announced again; it need not wait for its dead tunnel to be noticed."""
    _first(relay, "connect", C, Connect(B))
    _first(relay, "accept", B, Accept(C))
    assert _first(relay, "again", C, Connect(B)) == [NotifyListener("listen", IncomingConnection(C))]


def test_reject(relay: RelayServer) -> None:
    """A half tunnel is closed; a tunnel and a stranger are not touched."""
    _first(relay, "c", C, Connect(B))
    _first(relay, "d", D, Connect(B))
    _first(relay, "accept", B, Accept(D))
    assert relay.receive_reject("listen", RejectConnection(C)) == [CloseLink("c", Refusal.REJECTED)]
    assert relay.receive_reject("listen", RejectConnection(C)) == []
    assert relay.receive_reject("listen", RejectConnection(D)) == []
    assert _first(relay, "c2", C, Connect(B)) == [NotifyListener("listen", IncomingConnection(C))]


def test_a_half_tunnel_expires(relay: RelayServer) -> None:
    """Closed at the last of its ticks and not before; the connector may come again."""
    _first(relay, "connect", C, Connect(B))
    for _ in range(HALF_TUNNEL_TICKS - 1):
        assert relay.tick() == []
    assert relay.tick() == [CloseLink("connect", Refusal.NOT_ACCEPTED)]
    assert _first(relay, "accept", B, Accept(C)) == [CloseLink("accept", Refusal.NOBODY_WAITS)]
    assert _first(relay, "again", C, Connect(B)) == [NotifyListener("listen", IncomingConnection(C))]


def test_a_silent_link_expires() -> None:
    """D15: a link that never says what it wants."""
    relay = RelayServer()
    relay.open_link("silent")
    ticks = [relay.tick() for _ in range(RELAY_FIRST_MESSAGE_TICKS)]
    assert ticks == [[]] * (RELAY_FIRST_MESSAGE_TICKS - 1) + [[CloseLink("silent", Refusal.SILENT)]]
    assert relay.tick() == []


def test_a_tunnel_never_expires(relay: RelayServer) -> None:
    """What is joined belongs to the two."""
    _first(relay, "connect", C, Connect(B))
    _first(relay, "accept", B, Accept(C))
    assert [relay.tick() for _ in range(2 * HALF_TUNNEL_TICKS)] == [[]] * (2 * HALF_TUNNEL_TICKS)


def test_pending_messages_have_a_cap(relay: RelayServer) -> None:
    """D18: by number and by bytes, but the first message passes whatever its size."""
    _first(relay, "many", C, Connect(B))
    for _ in range(HALF_TUNNEL_MESSAGES_MAX):
        assert relay.receive_pending("many", b"x") == []
    assert relay.receive_pending("many", b"x") == [CloseLink("many", Refusal.PENDING_FULL, "HALF_TUNNEL_MESSAGES_MAX")]
    _first(relay, "large", D, Connect(B))
    assert relay.receive_pending("large", bytes(HALF_TUNNEL_BYTES_MAX + 1)) == []
    assert relay.receive_pending("large", b"x") == [CloseLink("large", Refusal.PENDING_FULL, "HALF_TUNNEL_BYTES_MAX")]


def test_connectors_of_a_listener_have_a_cap(relay: RelayServer) -> None:
    """D16: a stranger can not make a listener's list of notices grow without end."""
    for number in range(LISTENER_NOTICES_MAX):
        key = PublicKey(number.to_bytes(32, "big"))
        assert len(_first(relay, str(number), key, Connect(B))) == 1
    assert _first(relay, "more", C, Connect(B)) == [CloseLink("more", Refusal.LISTENER_FULL, "LISTENER_NOTICES_MAX")]


def test_the_listener_goes(relay: RelayServer) -> None:
    """D17: who waits for it is told at once; a tunnel stays; the key can listen again."""
    _first(relay, "c", C, Connect(B))
    _first(relay, "d", D, Connect(B))
    _first(relay, "accept", B, Accept(D))
    assert relay.close_link("listen") == [CloseLink("c", Refusal.LISTENER_GONE)]
    assert _first(relay, "later", C, Connect(B)) == [CloseLink("later", Refusal.NO_LISTENER)]
    assert _first(relay, "listen2", B, Listen()) == []
    assert _first(relay, "c2", C, Connect(B)) == [NotifyListener("listen2", IncomingConnection(C))]


def test_the_connector_goes(relay: RelayServer) -> None:
    """Its half tunnel is gone; an accept that comes too late is closed."""
    _first(relay, "connect", C, Connect(B))
    assert relay.close_link("connect") == []
    assert _first(relay, "accept", B, Accept(C)) == [CloseLink("accept", Refusal.NOBODY_WAITS)]


def test_a_refused_listen_does_not_end_the_first(relay: RelayServer) -> None:
    """Closing the loser's link leaves the winner."""
    _first(relay, "second", B, Listen())
    relay.close_link("second")
    assert _first(relay, "c", C, Connect(B)) == [NotifyListener("listen", IncomingConnection(C))]


def test_the_end_closes_all_but_listeners(relay: RelayServer) -> None:
    """New links and half tunnels; a tunnel is not the engine's any more, and the listener is told of nobody else."""
    relay.open_link("new")
    _first(relay, "connect", C, Connect(B))
    _first(relay, "joined", D, Connect(B))
    _first(relay, "accept", B, Accept(D))
    assert relay.end() == [CloseLink("new", Refusal.RELAY_ENDS), CloseLink("connect", Refusal.RELAY_ENDS)]
    assert relay.is_listener("listen")
    assert not relay.is_waiting("connect")
    assert relay.end() == []


def test_each_refusal_is_counted_under_its_reason(relay: RelayServer) -> None:
    """Every closed link has one reason; what is ignored has none."""
    _first(relay, "twice", B, Listen())
    _first(relay, "nobody", C, Connect(D))
    _first(relay, "late", B, Accept(C))
    _first(relay, "connect", C, Connect(B))
    _first(relay, "again", C, Connect(B))
    relay.receive_reject("listen", RejectConnection(C))
    relay.receive_reject("listen", RejectConnection(C))
    _first(relay, "talks", C, Connect(B))
    for _ in range(HALF_TUNNEL_MESSAGES_MAX + 1):
        relay.receive_pending("talks", b"")
    for number in range(LISTENER_NOTICES_MAX + 2):
        _first(relay, f"many{number}", PublicKey(number.to_bytes(32, "big")), Connect(B))
    relay.open_link("silent")
    for _ in range(HALF_TUNNEL_TICKS):
        relay.tick()
    _first(relay, "left", C, Connect(B))
    relay.close_link("listen")
    relay.open_link("new")
    relay.end()
    assert relay.refused == {
        Refusal.LISTENS_ALREADY: 1,
        Refusal.NO_LISTENER: 1,
        Refusal.NOBODY_WAITS: 1,
        Refusal.WAITS_ALREADY: 1,
        Refusal.REJECTED: 1,
        Refusal.PENDING_FULL: 1,
        Refusal.LISTENER_FULL: 2,
        Refusal.SILENT: 1,
        Refusal.NOT_ACCEPTED: LISTENER_NOTICES_MAX,
        Refusal.LISTENER_GONE: 1,
        Refusal.RELAY_ENDS: 1,
    }
