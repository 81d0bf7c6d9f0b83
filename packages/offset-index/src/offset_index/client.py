"""
The index client of a node: one server at a time, declarations kept fresh, routes asked for. Spec 06 §7.

A pure engine, driven by the node. Attempts to connect are numbered; whatever is said of an attempt that
is no longer the present one is ignored.

==============  =================================  =================================================
state           event                              next
==============  =================================  =================================================
waiting         ticks ran out, or a server added   connecting to the next server in turn
connecting      link open and first time hash      connected: everything is declared
connecting      failure, or 16 ticks               waiting
connected       link ended, or server removed      waiting; open requests fail
==============  =================================  =================================================

Servers are tried in turn, and the one just chosen goes to the end of the list. Each connection is a new session with
its own identifier and a counter that starts at 0 (§7.5). Every update is signed over the last time hash received.

The node carries out the effects in the order returned, calls `tick` once a tick, and reports for each `Connect`
either `attempt_failed`, or messages by `receive` and at last `link_closed`. Every route request is answered exactly
once: by the server's answer, or as failed when its time is over, the link ends, or the same identifier is asked for
again (§7.7). At most `INDEX_CLIENT_REQUESTS_MAX` requests are open; one more fails at once.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from offset_crypto.backoff import Backoff
from offset_crypto.identity import Identity
from offset_crypto.secure_channel import RandomBytes
from offset_crypto.signed import mutations_update_buffer
from offset_index.rotation import Rotation, guard_removals
from offset_proto.limits import (
    INDEX_CLIENT_REQUESTS_MAX,
    INDEX_CONNECT_TICKS,
    INDEX_REFRESH_TICKS,
    INDEX_REQUEST_TICKS,
)
from offset_proto.messages.app import ClientResponseRoutes, RoutesFailure, RoutesFound
from offset_proto.messages.index import (
    IndexClientToServer,
    IndexMutation,
    IndexServerToClient,
    MutationsUpdate,
    RequestRoutes,
    ResponseRoutes,
    TimeHash,
)
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import Currency, HashResult, PublicKey, RandValue, Signature, Uid

__all__ = [
    "Connect",
    "ConnectedServerChanged",
    "Disconnect",
    "Effect",
    "IndexClient",
    "RespondRoutes",
    "SendToServer",
]

UPDATES_PER_MESSAGE = 64
"""Of a full declaration, or of the changes of a tick; a server takes no message of too many."""

REPEAT_TICKS = 4
"""Between repetitions of a new declaration; a buyer asks for routes for ten at least."""

REPEATS = 4
"""Repetitions of a new declaration; a server tries a neighbour again within 8 ticks."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a link to a server; what becomes of it is told by the number of the attempt."""

    attempt: int
    server: NamedIndexServerAddress


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Give the attempt, or its link, up."""

    attempt: int


@dataclass(frozen=True, slots=True)
class SendToServer:
    """Send over the link of an attempt."""

    attempt: int
    message: IndexClientToServer


@dataclass(frozen=True, slots=True)
class ConnectedServerChanged:
    """Tell the apps in the report which server the node is connected to; None where it is connected to none."""

    public_key: PublicKey | None


@dataclass(frozen=True, slots=True)
class RespondRoutes:
    """Give the app that asked for routes its answer, which may be that no server could be asked."""

    response: ClientResponseRoutes


Effect = Connect | Disconnect | SendToServer | ConnectedServerChanged | RespondRoutes


@dataclass
class _Session:
    """A connection that got its first time hash."""

    session_id: Uid
    time_hash: HashResult
    counter: int = 0
    refresh_ticks: int = INDEX_REFRESH_TICKS
    lived_ticks: int = 0
    has_told: bool = False
    """Whether a change was told in this tick already: further ones wait for the next one."""
    changes: dict[tuple[PublicKey, Currency], IndexMutation] = field(default_factory=dict)
    new_pairs: dict[tuple[PublicKey, Currency], None] = field(default_factory=dict)
    """Declared again before their turn; the newest `UPDATES_PER_MESSAGE` of them at most."""
    repeat_ticks: int = 0
    repeats: int = 0

    def repeat(self, pairs: Iterable[tuple[PublicKey, Currency]]) -> None:
        """These pairs are new."""
        self.new_pairs |= dict.fromkeys(pairs)
        for pair in list(self.new_pairs)[:-UPDATES_PER_MESSAGE]:
            del self.new_pairs[pair]
        self.repeat_ticks, self.repeats = REPEAT_TICKS, REPEATS

    def due(self) -> list[tuple[PublicKey, Currency]]:
        """A tick has passed; the pairs that are to be declared again now."""
        self.repeat_ticks -= 1
        if not self.new_pairs or self.repeat_ticks > 0:
            return []
        pairs = list(self.new_pairs)
        self.repeat_ticks = REPEAT_TICKS
        self.repeats -= 1
        if self.repeats == 0:
            self.new_pairs.clear()
        return pairs


class IndexClient:
    """
    One node's index client.

    Args:
        servers: In the order of configuration.
        identity: Signs declarations.
        random_bytes: Source of session ids and nonces.
    """

    def __init__(
        self, servers: Iterable[NamedIndexServerAddress], identity: Identity, random_bytes: RandomBytes
    ) -> None:
        self._rotation_of_servers = deque(servers)
        self._identity = identity
        self._random_bytes = random_bytes
        self._declared = Rotation()
        self._backoff = Backoff(random_bytes)
        self._attempt = 0
        self._server: NamedIndexServerAddress | None = None
        self._session: _Session | None = None
        self._wait_ticks = 0
        self._connect_ticks = 0
        self._requests: dict[Uid, int] = {}

    @property
    def next_attempt(self) -> int:
        """Ticks until a server is chosen; 0 where one is."""
        return self._wait_ticks if self._server is None else 0

    # Configuration and changes of the node.

    @property
    def has_servers(self) -> bool:
        """Whether there is any server to connect to."""
        return bool(self._rotation_of_servers)

    @property
    def is_connected(self) -> bool:
        """Whether a server has said its time, so that it can be told and asked."""
        return self._session is not None

    def start(self) -> list[Effect]:
        """Connect to the first server; the node calls it once, when it starts to run."""
        return self._choose()

    def add_server(self, server: NamedIndexServerAddress) -> list[Effect]:
        """A server was configured; one of the same key is replaced."""
        others = [known for known in self._rotation_of_servers if known.public_key != server.public_key]
        self._rotation_of_servers = deque([*others, server])
        return self._choose() if self._server is None else []

    def remove_server(self, public_key: PublicKey) -> list[Effect]:
        """The owner removed a server: it is not chosen any more, and where it is the present one, it is left."""
        kept = [known for known in self._rotation_of_servers if known.public_key != public_key]
        self._rotation_of_servers = deque(kept)
        if self._server is None or self._server.public_key != public_key:
            return []
        return [Disconnect(self._attempt), *self._leave()]

    def apply_mutations(self, mutations: tuple[IndexMutation, ...]) -> list[Effect]:
        """
        What the node declares has changed. Spec 06 §7.6.

        The first change of a tick is told at once, those after it together at the next tick: a node that forwards a
        hundred payments a second would otherwise sign a hundred updates, each of which every index server verifies.
        """
        new = self._declared.apply(mutations)
        if self._session is None or not mutations:
            return []
        if new:
            self._session.repeat(new)
        self._session.changes |= {(change.public_key, change.currency): change for change in mutations}
        return [] if self._session.has_told else self._tell_changes(self._session)

    def _tell_changes(self, session: _Session) -> list[Effect]:
        changes, session.changes = tuple(session.changes.values()), {}
        session.has_told = True
        session.refresh_ticks = INDEX_REFRESH_TICKS
        extra = self._declared.next()
        return self._updates([*guard_removals(changes), *([] if extra is None else [extra])])

    def request_routes(self, request: RequestRoutes) -> list[Effect]:
        """An app asks for routes. Spec 06 §7.7."""
        effects: list[Effect] = []
        if request.request_id in self._requests:
            effects.append(self._fail(request.request_id))
        if self._session is None or len(self._requests) >= INDEX_CLIENT_REQUESTS_MAX:
            effects.append(_failure(request.request_id))
            return effects
        self._requests[request.request_id] = INDEX_REQUEST_TICKS
        effects.append(SendToServer(self._attempt, request))
        return effects

    # What becomes of an attempt.

    def attempt_failed(self, attempt: int) -> list[Effect]:
        """The attempt made no link; another server is chosen after a pause."""
        return self._leave() if attempt == self._attempt and self._server is not None else []

    def link_closed(self, attempt: int) -> list[Effect]:
        """The link of an attempt ended; open requests fail, and another server is chosen after a pause."""
        return self.attempt_failed(attempt)

    def receive(self, attempt: int, message: IndexServerToClient) -> list[Effect]:
        """Take a message of the server that the attempt has connected to; one of an earlier attempt is ignored."""
        if attempt != self._attempt or self._server is None:
            return []
        match message:
            case TimeHash(time_hash):
                if self._session is None:
                    return self._open_session(self._server, time_hash)
                self._session.time_hash = time_hash
                return []
            case ResponseRoutes(request_id, multi_routes):
                if self._requests.pop(request_id, None) is None:
                    return []
                return [RespondRoutes(ClientResponseRoutes(request_id, RoutesFound(multi_routes)))]

    def tick(self) -> list[Effect]:
        """A second has passed: pauses and time limits become shorter, and declarations that are due are sent."""
        effects = self._expire_requests()
        if self._server is None:
            self._wait_ticks = max(0, self._wait_ticks - 1)
            return effects + (self._choose() if self._wait_ticks == 0 else [])
        if self._session is None:
            self._connect_ticks -= 1
            if self._connect_ticks <= 0:  # D72
                effects += [Disconnect(self._attempt), *self._leave()]
            return effects
        self._session.lived_ticks += 1
        self._session.refresh_ticks -= 1
        self._session.has_told = False
        for repeated in self._declared.of(self._session.due()):
            self._session.changes.setdefault((repeated.public_key, repeated.currency), repeated)
        if self._session.changes:
            effects += self._tell_changes(self._session)
        if self._session.refresh_ticks <= 0:
            self._session.refresh_ticks = INDEX_REFRESH_TICKS
            extra = self._declared.next()
            effects.append(self._update([] if extra is None else [extra]))
        return effects

    # Inside.

    def _choose(self) -> list[Effect]:
        if not self._rotation_of_servers:
            return []
        self._server = self._rotation_of_servers.popleft()
        self._rotation_of_servers.append(self._server)
        self._attempt += 1
        self._connect_ticks = INDEX_CONNECT_TICKS
        return [Connect(self._attempt, self._server)]

    def _leave(self) -> list[Effect]:
        """Back to waiting; what was open fails."""
        effects: list[Effect] = [self._fail(request_id) for request_id in list(self._requests)]
        if self._session is None:
            self._wait_ticks = self._backoff.after_failure()
        else:
            effects.append(ConnectedServerChanged(None))
            self._wait_ticks = max(1, self._backoff.after_link(self._session.lived_ticks))
        self._server, self._session = None, None
        return effects

    def _open_session(self, server: NamedIndexServerAddress, time_hash: HashResult) -> list[Effect]:
        self._session = _Session(Uid(self._random_bytes(Uid.SIZE)), time_hash)
        return [ConnectedServerChanged(server.public_key), *self._updates(self._declared.all())]

    def _updates(self, mutations: Sequence[IndexMutation]) -> list[Effect]:
        """Signed updates of at most `UPDATES_PER_MESSAGE` each, in order."""
        starts = range(0, len(mutations), UPDATES_PER_MESSAGE)
        return [self._update(mutations[start : start + UPDATES_PER_MESSAGE]) for start in starts]

    def _update(self, mutations: Iterable[IndexMutation]) -> SendToServer:
        """A signed update; the session exists."""
        session = self._session
        assert session is not None
        update = MutationsUpdate(
            node_public_key=self._identity.public_key,
            index_mutations=tuple(mutations),
            time_hash=session.time_hash,
            session_id=session.session_id,
            counter=session.counter,
            rand_nonce=RandValue(self._random_bytes(RandValue.SIZE)),
            signature=Signature.zero(),
        )
        session.counter += 1
        signature = self._identity.sign(mutations_update_buffer(update))
        return SendToServer(self._attempt, replace(update, signature=signature))

    def _expire_requests(self) -> list[Effect]:
        for request_id in self._requests:
            self._requests[request_id] -= 1
        return [self._fail(request_id) for request_id, ticks in list(self._requests.items()) if ticks <= 0]

    def _fail(self, request_id: Uid) -> RespondRoutes:
        del self._requests[request_id]
        return _failure(request_id)


def _failure(request_id: Uid) -> RespondRoutes:
    return RespondRoutes(ClientResponseRoutes(request_id, RoutesFailure()))
