"""Everything that takes bytes or text from outside, with what nobody should send."""

import os
from random import Random

import pytest

from interop.fuzz import FuzzFailure, Target, make_targets, run
from offset_proto.errors import PeerError

INPUTS = 100_000


def test_everything_takes_what_nobody_should_send() -> None:
    """A result or a named error, whatever comes; of each target both."""
    seed = int.from_bytes(os.urandom(4), "big")
    with make_targets() as targets:
        report = run(targets, INPUTS, seed)
    for target in targets:
        assert report.results[target.name] > 0, f"no input of {target.name} was good, seed {seed}"
        assert report.errors[target.name], f"no input of {target.name} was refused, seed {seed}"


def test_a_fault_is_found() -> None:
    """An error that a target does not declare ends the run, and names the input."""

    def feed(data: bytes, chance: Random) -> None:
        if b"\xff" in data:
            raise KeyError("a bug")

    with pytest.raises(FuzzFailure, match="faulty: KeyError"):
        run([Target("faulty", [b"good"], feed, (PeerError,))], 10_000, 1)
