"""Conversations replayed: the original's from the recorded vectors, and those of a network of ours as it runs."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interop.network import Network, NodeSpec
from interop.recorder import KINDS, Recorder
from interop.replay import Friendship, ReplayFailed, replay
from interop.runner.json_values import read
from offset_proto import wire
from offset_proto.messages.friend import FriendMessage, MoveTokenRequest
from offset_proto.types import HashResult, PublicKey, Signature

VECTORS = Path(__file__).parent.parent / "vectors" / "funder" / "nodes.json"

RECORDS = sorted(path for path in (Path(__file__).parent.parent / "records").iterdir() if path.is_dir())
"""Of live networks with the original in them; `interop/live/test_recordings.py` makes them."""

Message = tuple[PublicKey, FriendMessage]


def _conversations(case: dict[str, Any]) -> Iterator[list[Message]]:
    """What each pair of the original's nodes said to each other in a case."""
    keys = {node["name"]: PublicKey(bytes.fromhex(node["publicKey"])) for node in case["inputs"]["nodes"]}
    pairs: dict[frozenset[PublicKey], list[Message]] = {}
    for step in case["inputs"]["steps"]:
        spoken = step["event"].get("friendMessage")
        if spoken is not None:
            sender = PublicKey(bytes.fromhex(spoken["from"]))
            message = wire.FRIEND_MESSAGE.decode(bytes.fromhex(spoken["bytes"]))
            pairs.setdefault(frozenset((sender, keys[step["node"]])), []).append((sender, message))
    yield from pairs.values()


def _cases() -> list[Any]:
    cases = json.loads(VECTORS.read_text())["cases"]
    return [pytest.param(case, id=case["name"].split(":")[0] + str(number)) for number, case in enumerate(cases)]


def _replay(messages: list[Message]) -> Friendship:
    first, second = {sender for sender, _ in messages}
    friendship = Friendship(first, second)
    for sender, message in messages:
        friendship.take(sender, message)
    return friendship


@pytest.mark.parametrize("case", _cases())
def test_the_originals_conversations(case: dict[str, Any]) -> None:
    """Every token of the original is taken by our channel, and built again to the byte from its operations."""
    for messages in _conversations(case):
        summary = _replay(messages).summary
        assert summary.tokens >= 3
        if "inconsistency" in case["name"]:
            assert summary.resets >= 1
        else:
            assert summary.without_beginning == 0


def _forged(request: MoveTokenRequest) -> Iterator[MoveTokenRequest]:
    token = request.move_token
    yield MoveTokenRequest(replace(token, new_token=Signature(bytes(64))), request.token_wanted)
    yield MoveTokenRequest(replace(token, info_hash=HashResult(bytes(32))), request.token_wanted)
    if token.currencies_operations:
        yield MoveTokenRequest(replace(token, currencies_operations=()), request.token_wanted)


def test_a_changed_token_is_found() -> None:
    """Signature, state or operations of any token replaced: the replay fails at it."""
    case = json.loads(VECTORS.read_text())["cases"][0]
    (messages,) = _conversations(case)
    first, second = {sender for sender, _ in messages}
    seen = []
    for position, (sender, message) in enumerate(messages):
        if not isinstance(message, MoveTokenRequest) or message.move_token in seen:
            continue
        seen.append(message.move_token)
        if len(seen) == 1:
            continue  # the first token of a channel is not signed
        for forged in _forged(message):
            friendship = Friendship(first, second)
            for earlier in messages[:position]:
                friendship.take(*earlier)
            with pytest.raises(ReplayFailed):
                friendship.take(sender, forged)
    assert len(seen) > 10


def test_a_network_of_ours_is_recorded(tmp_path: Path) -> None:
    """A payment over two hops, listened in to on every link; a record that was changed is refused."""
    directory, records = tmp_path / "network", tmp_path / "records"
    directory.mkdir()
    recorder = Recorder(records, directory, lambda name: "ours")
    try:
        with Network(directory, recorder=recorder) as network:
            network.add_relay("relay")
            network.add_index_servers(["index0", "index1"])
            for name, index in (("A", "index0"), ("B", "index1"), ("C", "index1")):
                network.add_node(NodeSpec(name, "relay", index))
            network.befriend("A", "B", "FST", rates=(0, 1))
            network.befriend("B", "C", "FST")
            network.set_limit("B", "A", "FST", 100)
            network.set_limit("C", "B", "FST", 100)
            assert network.pay("A", "C", "FST", 50, "first") == "Receipt is valid!"
    finally:
        recorder.close()
    paths = sorted(records.iterdir())
    kinds = {path.name.split("-", 1)[1].rsplit("-", 2)[0] for path in paths}
    assert {"relay", "friend", "app-A", "index-client", "index-server"} <= kinds
    summary = replay(paths)
    assert summary.tokens >= 10
    assert summary.without_beginning == 0
    assert summary.built_again == summary.messages
    assert summary.report_changes > 10
    assert summary.declarations > 3
    assert all(b"privateKey" not in path.read_bytes() for path in paths)
    friend = next(path for path in paths if "-friend-" in path.name)
    for old, new in (('"tokenWanted": true', '"tokenWanted": false'), ('"FriendMessage"', '"InitConnection"')):
        friend.write_text(friend.read_text().replace(old, new, 1))
        with pytest.raises(ReplayFailed, match=f"{friend.name}:[0-9]+: "):
            replay(paths)


@pytest.mark.parametrize("directory", RECORDS, ids=lambda directory: directory.name)
def test_live_conversations_with_the_original(directory: Path) -> None:
    """What the original said is taken, and what ours said is built again, on each link of a mixed network."""
    summary = replay(directory.glob("*.jsonl"))
    assert summary.tokens > 10
    assert summary.resets == 1
    assert summary.without_beginning == 0
    assert summary.built_again == summary.messages  # those of the original, too
    assert summary.report_changes > 10
    assert summary.declarations > 3


def _changed(lines: list[str], change: Callable[[dict[str, Any]], bool]) -> list[str]:
    """The lines of a record, the first message that *change* has changed in bytes and content alike."""
    for position, text in enumerate(lines):
        line = json.loads(text)
        if position and change(line["message"]):
            codec, cls = KINDS[line["kind"]]
            line["bytes"] = codec.encode(read(cls, line["message"])).hex()
            return [*lines[:position], json.dumps(line), *lines[position + 1 :]]
    raise AssertionError("there is nothing to change")


def _count_twice(message: dict[str, Any]) -> bool:
    update = message.get("mutationsUpdate")
    if update is not None:
        update["counter"] = type(update["counter"])(int(update["counter"]) + 1)
    return update is not None


def _tell_of_a_stranger(message: dict[str, Any]) -> bool:
    told = message.get("reportMutations")
    if told is not None:
        change = {"friendPublicKey": "00" * 32, "friendReportMutation": {"setName": "stranger"}}
        told["mutations"] = [{"funder": {"pkFriendReportMutation": change}}]
    return told is not None


@pytest.mark.parametrize(
    ("link", "change", "said"),
    [("index-client", _count_twice, "has not signed"), ("app", _tell_of_a_stranger, "FriendDoesNotExist")],
)
def test_what_does_not_fit_the_state_is_found(
    tmp_path: Path, link: str, change: Callable[[dict[str, Any]], bool], said: str
) -> None:
    """A message that decodes, and that its sender could not have said."""
    content = {"index-client": '"mutationsUpdate"', "app": '"reportMutations"'}[link]
    path = next(path for path in sorted(RECORDS[0].glob(f"*-{link}-*.jsonl")) if content in path.read_text())
    copy = tmp_path / path.name
    copy.write_text("\n".join(_changed(path.read_text().splitlines(), change)))
    with pytest.raises(ReplayFailed, match=said):
        replay([copy])


def _pack_otherwise(packed: bytes) -> bytes:
    """The same words, the first of them with all of its bytes: legal, and not what we do (Cap'n Proto, "Packing")."""
    tag, rest = packed[0], list(packed[1:])
    assert 0 < tag < 0xFF
    word = bytes(rest.pop(0) if tag >> bit & 1 else 0 for bit in range(8))
    return bytes([0xFF, *word, 0, *rest])


@pytest.mark.parametrize("player", ["ours", "original"])
def test_other_bytes(tmp_path: Path, player: str) -> None:
    """A message that is packed in another way than ours: the original might say it, a program of ours would not."""
    path = min(RECORDS[0].glob("*-app-B-app-B.jsonl"))
    header, *lines = (json.loads(line) for line in path.read_text().splitlines())
    header["server"]["player"] = player
    report = next(line for line in lines if line["kind"] == "NodeReport")
    report["bytes"] = _pack_otherwise(bytes.fromhex(report["bytes"])).hex()
    copy = tmp_path / path.name
    copy.write_text("\n".join(json.dumps(line) for line in [header, *lines]))
    if player == "ours":
        with pytest.raises(ReplayFailed, match="in other bytes"):
            replay([copy])
    else:
        summary = replay([copy])
        assert summary.built_again == summary.messages - 1
