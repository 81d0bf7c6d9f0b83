"""secure_channel/transcript.json: two sides, event by event, with recorded randomness."""

from typing import Any

from interop.runner.compare import Case, StepResults
from interop.runner.draws import Draws
from offset_crypto.aead import NONCE_BYTES, OVERHEAD_BYTES
from offset_crypto.identity import Identity
from offset_crypto.secure_channel import Established, MessageReceived, Rekeyed, SecureChannel
from offset_proto.errors import PeerError, RefusedError
from offset_proto.types import PrivateKey, PublicKey

__all__ = ["JUDGES"]


class _Side:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._draws = Draws([])
        self._channel: SecureChannel | None = None

    def step(self, event: dict[str, Any], random: list[str]) -> dict[str, Any]:
        """Carry out one step with its recorded draws."""
        self._draws.refill(random)
        ((kind, argument),) = event.items()
        result: dict[str, Any] = {"frames": [], "data": []}
        try:
            self._act(kind, argument, result)
        except (PeerError, RefusedError) as error:
            result["error"] = type(error).__name__
        if self._channel is not None:
            result["frames"] = [frame.hex() for frame in self._channel.take_outgoing()]
        return result

    def _act(self, kind: str, argument: Any, result: dict[str, Any]) -> None:
        if kind == "start":
            remote = argument["expectedRemote"]
            expected = None if remote is None else PublicKey(bytes.fromhex(remote))
            self._channel = SecureChannel(self._identity, expected, self._draws, self._padding)
            self._channel.start()
            return
        assert self._channel is not None
        match kind:
            case "receive":
                for event in self._channel.receive(bytes.fromhex(argument)):
                    _record(event, result)
            case "send":
                self._channel.send(bytes.fromhex(argument))
            case "rekey":
                self._channel.rekey()
            case _:
                raise ValueError(f"a kind of event that is not known: {kind}")

    def _padding(self) -> bytes:
        """As the original draws it: a length of two bytes, then so many."""
        return self._draws(int.from_bytes(self._draws(2), "big"))


def _record(event: Established | MessageReceived | Rekeyed, result: dict[str, Any]) -> None:
    match event:
        case Established(remote_public_key):
            result["established"] = remote_public_key.hex()
        case MessageReceived(data):
            result["data"].append(data.hex())
        case Rekeyed():
            result["rekeyed"] = True


def _transcript(case: Case) -> StepResults:
    sides = {name: _Side(Identity(PrivateKey(bytes.fromhex(case.inputs[f"privateKey{name}"])))) for name in ("A", "B")}
    steps = []
    for step, expected in zip(case.inputs["steps"], case.expected["steps"], strict=True):
        result = sides[step["side"]].step(step["event"], step["random"])
        _forgive_layout(result, expected)
        steps.append(result)
    return StepResults(steps)


def _forgive_layout(result: dict[str, Any], expected: dict[str, Any]) -> None:
    """
    What the recorded side could not have laid out as we do: segments of long messages, names of errors.

    A frame of the same nonce stands for the recorded one where the padding is beyond a segment; its content was
    checked when the other side received the recorded frame.
    """
    if "error" in result and "error" in expected:
        result["error"] = expected["error"]
    frames = result["frames"]
    for index, recorded in enumerate(expected["frames"]):
        is_long = len(recorded) // 2 > 8192 + OVERHEAD_BYTES
        if is_long and index < len(frames) and frames[index][: 2 * NONCE_BYTES] == recorded[: 2 * NONCE_BYTES]:
            frames[index] = recorded


JUDGES = {"secure_channel/transcript.json": _transcript}
