"""
The secure channel: two nonces, two signed ephemeral keys, then sealed messages. Spec 02 §5, §6.

Both sides run the same machine; nothing tells who connected.

=============  =======================  ==========================================================
state          message                  next
=============  =======================  ==========================================================
START          (``start``)              send ExchangeRandNonce -> WAIT_NONCE
WAIT_NONCE     ExchangeRandNonce        send ExchangeDh, signed over the peer's nonce -> WAIT_DH
WAIT_DH        ExchangeDh, signed       derive both keys -> OPEN
OPEN           ChannelMessage user      `MessageReceived`
OPEN           ChannelMessage rekey     no rekey pending: answer with a Rekey under the old key, switch
                                        both keys; pending: switch both keys. `Rekeyed`
=============  =======================  ==========================================================

After a rekey the previous opener is kept until a message opens with the new one: what the peer sent
before it switched still arrives. A second Rekey is never sent while one is pending; the peer would
lose the key that it is sealed with (spec 02 §6.5).

The owner calls `start` once, gives every message that arrives to `receive`, in order, calls `tick` once a tick, and
sends what `take_outgoing` returns after each of these calls. `send` is refused before OPEN. A `PeerError` from
`receive` ends the channel: the owner must not use it again.

A rekey begins `REKEY_TICKS` ticks after the last one. When both sides begin one at the same time, neither answers:
each takes the other's Rekey as the answer to its own. The channel sets no limit on the time of the handshake; that
is done in `offset_crypto.link`. A handshake message has at most `HANDSHAKE_WORDS_MAX` words.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from offset_crypto.aead import DecryptionFailed, Opener, Sealer
from offset_crypto.exchange import EphemeralKey
from offset_crypto.identity import Identity, verify
from offset_crypto.signed import exchange_dh_buffer
from offset_proto import wire
from offset_proto.errors import PeerError, RefusedError, invariant
from offset_proto.limits import PADDING_BYTES_MAX, REKEY_TICKS
from offset_proto.messages.channel import ChannelMessage, ExchangeDh, ExchangeRandNonce, Rekey, User
from offset_proto.types import PublicKey, RandValue, Salt

__all__ = [
    "Established",
    "HandshakeFailed",
    "MessageReceived",
    "RandomBytes",
    "RekeyInProgress",
    "Rekeyed",
    "SecureChannel",
    "random_padding",
]

RandomBytes = Callable[[int], bytes]
"""Draws so many random bytes; the operating system's in programs, a seeded source in simulations."""

HANDSHAKE_WORDS_MAX = 4096
"""8-byte words of a handshake message, which comes from a stranger."""


class HandshakeFailed(PeerError):
    """The peer is not the one expected, or did not prove it."""


class RekeyInProgress(RefusedError):
    """A second rekey would make the peer lose the key that it is sealed with."""


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is done; the peer proved this key."""

    remote_public_key: PublicKey


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """One message of the layer above."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """Both directions have new keys."""


class _State(enum.Enum):
    START = enum.auto()
    WAIT_NONCE = enum.auto()
    WAIT_DH = enum.auto()
    OPEN = enum.auto()


def random_padding(random_bytes: RandomBytes) -> bytes:
    """0 to 255 random bytes; the original sends up to 65535 (D6). Spec 02 §6.6."""
    return random_bytes(random_bytes(1)[0] & PADDING_BYTES_MAX)


class SecureChannel:
    """
    One end of a secure channel: a byte engine over whole messages.

    Args:
        identity: Signs for this end.
        expected_remote: The key that the peer must prove; None takes any.
        random_bytes: Source of nonces, ephemeral keys and salts.
        padding: Gives the padding of each message; by default `random_padding`.
    """

    def __init__(
        self,
        identity: Identity,
        expected_remote: PublicKey | None,
        random_bytes: RandomBytes,
        padding: Callable[[], bytes] | None = None,
    ) -> None:
        self._identity = identity
        self._expected_remote = expected_remote
        self._random_bytes = random_bytes
        self._padding = padding or (lambda: random_padding(random_bytes))
        self._state = _State.START
        self._rekey_countdown = REKEY_TICKS
        self._old_opener: Opener | None = None
        self._pending_rekey: tuple[EphemeralKey, Salt] | None = None
        self._outgoing: list[bytes] = []
        # Set on the way to OPEN.
        self._rand_nonce: RandValue
        self._ephemeral: tuple[EphemeralKey, Salt]
        self._remote: PublicKey
        self._sealer: Sealer
        self._opener: Opener

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._state is _State.OPEN

    def take_outgoing(self) -> list[bytes]:
        """Messages for the peer, in order; each is handed out once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def start(self) -> None:
        """Send our nonce and key without waiting for the peer; the owner calls it once, before anything else."""
        invariant(self._state is _State.START, "a secure channel starts once")
        self._rand_nonce = RandValue(self._random_bytes(RandValue.SIZE))
        hello = ExchangeRandNonce(self._rand_nonce, self._identity.public_key, self._expected_remote)
        self._outgoing.append(wire.EXCHANGE_RAND_NONCE.encode(hello))
        self._state = _State.WAIT_NONCE

    def send(self, data: bytes) -> None:
        """
        Seal one message of the layer above.

        Raises:
            RefusedError: The handshake is not done.
        """
        if self._state is not _State.OPEN:
            raise RefusedError("the secure channel is not open")
        self._seal(User(data))

    def rekey(self) -> None:
        """
        Begin a rekey.

        Raises:
            RekeyInProgress: One is under way; nothing is sent.
        """
        if self._pending_rekey is not None or self._state is not _State.OPEN:
            raise RekeyInProgress
        self._pending_rekey = self._draw_ephemeral()
        self._seal(_rekey_message(*self._pending_rekey))
        self._rekey_countdown = REKEY_TICKS

    def tick(self) -> None:
        """A tick passed: after `REKEY_TICKS` of them a rekey begins. Spec 02 §6.5."""
        if self._rekey_countdown > 0:
            self._rekey_countdown -= 1
        elif self._pending_rekey is None:
            self.rekey()

    def receive(self, message: bytes) -> list[Established | MessageReceived | Rekeyed]:
        """
        Take the next message of the peer.

        Raises:
            PeerError: The channel must be closed: `HandshakeFailed`, `InvalidSignature`, `WeakKey`,
                `MalformedMessage` or `DecryptionFailed`.

        Spec: 02 §5.2, §6.2 [WIRE].
        """
        match self._state:
            case _State.OPEN:
                return self._receive_sealed(message)
            case _State.WAIT_NONCE:
                self._receive_nonce(message)
                return []
            case _State.WAIT_DH:
                return [self._receive_dh(message)]
            case _State.START:
                raise HandshakeFailed("a message before the handshake began")

    def _receive_nonce(self, message: bytes) -> None:
        hello = wire.EXCHANGE_RAND_NONCE.decode(message, words_max=HANDSHAKE_WORDS_MAX)
        if self._expected_remote is not None and hello.src_public_key != self._expected_remote:
            raise HandshakeFailed("UnexpectedRemotePublicKey")
        if hello.rand_nonce == self._rand_nonce:
            raise HandshakeFailed("the peer reflects our own nonce")  # D5
        if hello.opt_dest_public_key not in (None, self._identity.public_key):
            raise HandshakeFailed("the peer expects somebody else")  # D5
        self._remote = hello.src_public_key
        self._ephemeral = key, salt = self._draw_ephemeral()
        signature = self._identity.sign(exchange_dh_buffer(key.public_key, hello.rand_nonce, salt))
        answer = ExchangeDh(key.public_key, hello.rand_nonce, salt, signature)
        self._outgoing.append(wire.EXCHANGE_DH.encode(answer))
        self._state = _State.WAIT_DH

    def _receive_dh(self, message: bytes) -> Established:
        answer = wire.EXCHANGE_DH.decode(message, words_max=HANDSHAKE_WORDS_MAX)
        key, salt = self._ephemeral
        if answer.rand_nonce != self._rand_nonce:
            raise HandshakeFailed("IncorrectRandNonce")
        if answer.dh_public_key == key.public_key:
            raise HandshakeFailed("the peer reflects our own ephemeral key")  # D5
        buffer = exchange_dh_buffer(answer.dh_public_key, answer.rand_nonce, answer.key_salt)
        verify(buffer, self._remote, answer.signature)
        keys = key.derive(answer.dh_public_key, local_salt=salt, remote_salt=answer.key_salt)
        self._sealer, self._opener = Sealer(keys.send), Opener(keys.receive)
        self._state = _State.OPEN
        return Established(self._remote)

    def _receive_sealed(self, message: bytes) -> list[Established | MessageReceived | Rekeyed]:
        content = wire.CHANNEL_MESSAGE.decode(self._open(message)).content
        match content:
            case User(data):
                return [MessageReceived(data)]
            case Rekey():
                self._receive_rekey(content)
                return [Rekeyed()]

    def _open(self, message: bytes) -> bytes:
        if self._old_opener is not None:
            try:
                return self._old_opener.open(message)
            except DecryptionFailed:
                plain = self._opener.open(message)
                self._old_opener = None
                return plain
        return self._opener.open(message)

    def _receive_rekey(self, rekey: Rekey) -> None:
        own = self._pending_rekey or self._draw_ephemeral()
        key, salt = own
        keys = key.derive(rekey.dh_public_key, local_salt=salt, remote_salt=rekey.key_salt)
        if self._pending_rekey is None:
            self._seal(_rekey_message(*own))
        self._pending_rekey = None
        self._old_opener, self._opener = self._opener, Opener(keys.receive)
        self._sealer = Sealer(keys.send)
        self._rekey_countdown = REKEY_TICKS

    def _draw_ephemeral(self) -> tuple[EphemeralKey, Salt]:
        return EphemeralKey(self._random_bytes(32)), Salt(self._random_bytes(Salt.SIZE))

    def _seal(self, content: User | Rekey) -> None:
        plain = wire.CHANNEL_MESSAGE.encode(ChannelMessage(self._padding(), content))
        self._outgoing.append(self._sealer.seal(plain))


def _rekey_message(key: EphemeralKey, salt: Salt) -> Rekey:
    return Rekey(key.public_key, salt)
