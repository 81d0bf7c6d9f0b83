"""Restores at random moments with kill -9, and what the friends have seen of them. Spec 05 §7.7."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from interop.network import Cast, Network
from interop.ready import OURS_READY
from interop.recorder import Recorder
from interop.restores import Restores, observe
from offset_proto import wire
from offset_proto.errors import InvariantBroken
from offset_proto.messages.friend import MoveTokenRequest
from offset_proto.types import Signature

RECORDS = Path(__file__).parent.parent / "records" / "lower-ours-reset-by-A"
COUNT = 10


def test_restores_under_kills(tmp_path: Path) -> None:
    """Payments pass after each, both sides say the same, and no token that a friend saw has two successors."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    recorder = Recorder(tmp_path / "records", tmp_path)
    try:
        with Network(tmp_path, Cast(OURS_READY), recorder) as network:
            restores = Restores(network, Random(seed), print)
            restores.set_up()
            restores.run(COUNT)
    finally:
        recorder.close()
    assert observe(tmp_path / "records") > 10 * COUNT
    assert restores.done["payments"] > 0


def test_a_second_successor_is_seen(tmp_path: Path) -> None:
    """In a conversation of the original's there is none; with one token in it that was signed twice there is."""
    records = tmp_path / "records"
    shutil.copytree(RECORDS, records)
    assert observe(records) > 5
    path = min(records.glob("*-friend-*.jsonl"))
    line = json.loads(path.read_text().splitlines()[1])
    message = wire.FRIEND_MESSAGE.decode(bytes.fromhex(line["bytes"]))
    assert isinstance(message, MoveTokenRequest)
    other = replace(message.move_token, new_token=Signature(b"\x01" * Signature.SIZE))
    line["bytes"] = wire.FRIEND_MESSAGE.encode(replace(message, move_token=other)).hex()
    with path.open("a") as record:
        record.write(2 * (json.dumps(line) + "\n"))  # the last one may not have arrived
    with pytest.raises(InvariantBroken, match="two successors"):
        observe(records)
