"""Files of capnp/: packed messages, odd messages, frames."""

from typing import Any

from interop.runner.compare import Case
from interop.runner.json_values import read, show
from offset_proto.errors import PeerError
from offset_proto.frames import FrameReader, encode_frame
from offset_proto.limits import FRAME_BYTES_MAX
from offset_proto.wire import codec

__all__ = ["JUDGES", "RUNS"]


def _round_trip(case: Case) -> Any:
    """The recorded bytes, if they decode to the value and our own bytes do as well; the layout is free."""
    inputs, expected = case.inputs, case.expected
    kind = (inputs["schema"], inputs["struct"])
    own, message = codec(*kind), read(kind, inputs["value"])
    if own.decode(own.encode(message)) != message:
        return {"bytes of ours that decode to": show(kind, own.decode(own.encode(message)))}
    recorded = own.decode(bytes.fromhex(expected["bytes"]))
    return expected if recorded == message else {"decoded": show(kind, recorded)}


def _decode(inputs: dict[str, Any]) -> dict[str, Any]:
    kind = (inputs["schema"], inputs["struct"])
    try:
        message = codec(*kind).decode(bytes.fromhex(inputs["bytes"]))
    except PeerError:
        return {"ok": False}
    return {"ok": True, "value": show(kind, message)}


def _framing(inputs: dict[str, Any]) -> dict[str, Any]:
    match inputs["kind"]:
        case "encode":
            frames = [encode_frame(bytes.fromhex(frame)) for frame in inputs["frames"]]
            return {"stream": b"".join(frames).hex()}
        case "decode":
            reader = FrameReader(FRAME_BYTES_MAX)
            return {"frames": [_take(reader, bytes.fromhex(piece)) for piece in inputs["pieces"]]}
    raise ValueError(f"a kind of case that is not known: {inputs['kind']}")


def _take(reader: FrameReader, piece: bytes) -> list[str]:
    reader.receive_data(piece)
    frames = []
    while (frame := reader.next_frame()) is not None:
        frames.append(frame.hex())
    return frames


RUNS = {
    "capnp/decode.json": _decode,
    "capnp/framing.json": _framing,
}

JUDGES = {
    f"capnp/{name}.json": _round_trip
    for name in ("common", "secure_channel", "keepalive", "relay", "friend", "index", "app", "report")
}
"""Cases whose recorded value is one of several right answers."""
