"""
Length frames on a byte stream: 8 bytes big-endian length, then so many bytes. Spec 02 §3.

`FrameReader` is a byte engine: feed it what arrives, in pieces of any size, and it returns the frames that are
complete.

    LENGTH --8 bytes are there--> CONTENT --all bytes of the frame are there--> a frame, and LENGTH again
                  |
                  +--more than the limit--> FrameTooLarge: the stream is over

Rules.
1. A length of 0 is a legal frame. The length does not count its own 8 bytes.
2. Nothing is allocated for an announced length: the reader holds the bytes that have arrived, and nothing else. A frame
   longer than the present limit is refused as soon as its length is known, however little of it has arrived.
3. After `FrameTooLarge` the place where the next frame begins is not known any more, so the same error comes again.
4. A stream that ends inside a frame loses that frame: nobody tells the reader of the end.

Calling contract. Call `FrameReader.next_frame` after each `FrameReader.receive_data` until it returns None; what is not
fetched stays in memory. The limit may be changed between two frames, and counts for every frame that was not fetched
yet: a link raises it once the peer has proved its key.
"""

from offset_proto.errors import PeerError
from offset_proto.limits import HANDSHAKE_FRAME_BYTES_MAX, PROTOCOL_VERSION

__all__ = ["VERSION_FRAME", "FrameReader", "FrameTooLarge", "encode_frame"]

_PREFIX_BYTES = 8

VERSION_FRAME = PROTOCOL_VERSION.to_bytes(4, "big")
"""Content of the first frame of a TCP link. Spec 02 §4."""


class FrameTooLarge(PeerError):
    """The peer announced a frame beyond the limit."""


def encode_frame(payload: bytes) -> bytes:
    """The bytes on the stream for one frame; an empty frame is legal."""
    return len(payload).to_bytes(_PREFIX_BYTES, "big") + payload


class FrameReader:
    """
    Cuts a byte stream into frames.

    Args:
        frame_bytes_max: Longest frame accepted, bytes; may be changed between frames.
    """

    def __init__(self, frame_bytes_max: int = HANDSHAKE_FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """
        The next complete frame, or None where more data is needed.

        Raises:
            FrameTooLarge: The peer announced more than the limit.
        """
        if len(self._buffer) < _PREFIX_BYTES:
            return None
        size = int.from_bytes(self._buffer[:_PREFIX_BYTES], "big")
        if size > self.frame_bytes_max:
            raise FrameTooLarge(f"a frame of {size} bytes, at most {self.frame_bytes_max}")
        end = _PREFIX_BYTES + size
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[_PREFIX_BYTES:end])
        del self._buffer[:end]
        return frame
