"""
The stack of layers as one link. Spec 02 §2.

=================  ==========================  =====================================================
class              layers                      used between
=================  ==========================  =====================================================
`SecureLink`       channel, keepalive          two friends, through a tunnel that carries whole messages
`StreamLink`       frames, version, and those  everybody else, on a TCP stream
=================  ==========================  =====================================================

Both are byte engines: ``receive_data`` takes what arrived and returns events, ``take_outgoing``
hands out what to send, ``tick`` counts time, and every error is a `PeerError` after which the link is
over. The handshake has `HANDSHAKE_TICKS` ticks in all.

The owner calls ``start`` once and sends what ``take_outgoing`` returns after every call. A `SecureLink` takes whole
messages, by ``receive_message``. The first event is always `Opened`; before it ``send`` is refused, and after it each
`MessageReceived` is one message of the layer above. On a `StreamLink` the first frame must be the version, and the
owner's limit of frame bytes holds only once the link is open; a stranger has the stricter limit of `FrameReader`.
"""

from dataclasses import dataclass

from offset_crypto.identity import Identity
from offset_crypto.keepalive import Keepalive
from offset_crypto.secure_channel import Established, MessageReceived, RandomBytes, SecureChannel
from offset_proto.errors import PeerError
from offset_proto.frames import VERSION_FRAME, FrameReader, encode_frame
from offset_proto.limits import FRAME_BYTES_MAX, HANDSHAKE_TICKS, PROTOCOL_VERSION
from offset_proto.types import PublicKey

__all__ = [
    "HandshakeTimeout",
    "LinkEvent",
    "MessageReceived",
    "Opened",
    "SecureLink",
    "StreamLink",
    "VersionMismatch",
]


class HandshakeTimeout(PeerError):
    """The peer did not complete the handshake in time."""


class VersionMismatch(PeerError):
    """The peer speaks another version, or something else altogether."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The link is open; the peer proved this key."""

    remote_public_key: PublicKey


LinkEvent = Opened | MessageReceived


class SecureLink:
    """
    Secure channel and keepalive over a carrier of whole messages.

    Args:
        identity: Signs for this end.
        expected_remote: The key that the peer must prove; None takes any.
        random_bytes: Source of randomness.
    """

    def __init__(self, identity: Identity, expected_remote: PublicKey | None, random_bytes: RandomBytes) -> None:
        self._channel = SecureChannel(identity, expected_remote, random_bytes)
        self._keepalive = Keepalive()
        self._handshake_ticks = HANDSHAKE_TICKS

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._channel.is_open

    def start(self) -> None:
        """Begin the handshake, without waiting for the peer; the owner calls it once, before anything else."""
        self._channel.start()

    def take_outgoing(self) -> list[bytes]:
        """Messages for the carrier, in order; each is handed out once."""
        return self._channel.take_outgoing()

    def send(self, message: bytes) -> None:
        """
        Send one message of the layer above.

        Raises:
            RefusedError: The link is not open yet.
        """
        self._channel.send(self._keepalive.wrap(message))

    def receive_message(self, data: bytes) -> list[LinkEvent]:
        """
        Take one message of the carrier.

        Raises:
            PeerError: The link is over.
        """
        events: list[LinkEvent] = []
        for event in self._channel.receive(data):
            match event:
                case Established(remote_public_key):
                    events.append(Opened(remote_public_key))
                case MessageReceived(sealed):
                    message = self._keepalive.receive(sealed)
                    if message is not None:
                        events.append(MessageReceived(message))
        return events

    def carry_link(self) -> None:
        """From now on the messages are those of a link inside, which gives signs of life itself."""
        self._keepalive.carry_link()

    def tick(self, *, listening: bool = True) -> None:
        """
        A tick passed.

        Raises:
            HandshakeTimeout, RemoteTimeout: The link is over.
        """
        if not self._channel.is_open:
            self._handshake_ticks -= 1
            if self._handshake_ticks <= 0:
                raise HandshakeTimeout("the handshake took too long")
            return
        self._channel.tick()
        sign_of_life = self._keepalive.tick(listening=listening)
        if sign_of_life is not None:
            self._channel.send(sign_of_life)


class StreamLink:
    """
    The whole stack on a byte stream.

    Args:
        identity: Signs for this end.
        expected_remote: The key that the peer must prove; None takes any.
        random_bytes: Source of randomness.
        frame_bytes_max: Longest frame accepted once the link is open.

    Attributes:
        received_frames: How many have come, whatever was in them.
    """

    def __init__(
        self,
        identity: Identity,
        expected_remote: PublicKey | None,
        random_bytes: RandomBytes,
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        self._secure = SecureLink(identity, expected_remote, random_bytes)
        self._frames = FrameReader()
        self._frame_bytes_max = frame_bytes_max
        self._version_seen = False
        self.received_frames = 0
        self._first: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._secure.is_open

    def start(self) -> None:
        """Send version and nonce, without waiting for the peer's."""
        self._first = [encode_frame(VERSION_FRAME)]
        self._secure.start()

    def take_outgoing(self) -> list[bytes]:
        """Bytes for the stream, in order; each is handed out once."""
        first, self._first = self._first, []
        return first + [encode_frame(message) for message in self._secure.take_outgoing()]

    def send(self, message: bytes) -> None:
        """
        Send one message of the layer above.

        Raises:
            RefusedError: The link is not open yet.
        """
        self._secure.send(message)

    def carry_link(self) -> None:
        """From now on the messages are those of a link inside, which gives signs of life itself."""
        self._secure.carry_link()

    def receive_data(self, data: bytes) -> list[LinkEvent]:
        """
        Take the next piece of the stream, of any size.

        Raises:
            PeerError: The link is over. Events of earlier frames in the same piece are lost with it.
        """
        self._frames.receive_data(data)
        events: list[LinkEvent] = []
        while (frame := self._frames.next_frame()) is not None:
            self.received_frames += 1
            if not self._version_seen:
                _check_version(frame)
                self._version_seen = True
                continue
            events += self._secure.receive_message(frame)
            if self._secure.is_open:
                self._frames.frame_bytes_max = self._frame_bytes_max
        return events

    def tick(self, *, listening: bool = True) -> None:
        """
        A tick passed.

        Raises:
            HandshakeTimeout, RemoteTimeout: The link is over.
        """
        self._secure.tick(listening=listening)


def _check_version(frame: bytes) -> None:
    if len(frame) != len(VERSION_FRAME):
        raise VersionMismatch(f"Invalid version_data length: {len(frame)}")
    if frame != VERSION_FRAME:
        version = int.from_bytes(frame, "big")
        raise VersionMismatch(f"Invalid remote version: {version}, not {PROTOCOL_VERSION}")
