"""
What a payment costs each node in calls, which depends on no machine.

    python -m bench.calls                   what is done for a payment: buyer, mediator and seller
    python -m bench.calls --functions 40    and which functions are called most, and take longest by themselves

The network is that of `bench.lockstep`, so that two runs count the same. With many payments in flight one begins in
each round: their events come together as they do where programs run by themselves, a few of each kind at a time.
"""

import cProfile
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import click

from bench.lockstep import LockstepNetwork
from offset_crypto import aead, hashing, identity
from offset_proto import wire

__all__ = ["KINDS", "NODES", "count_calls"]

NODES: Final = ("buyer", "mediator", "seller")

_COUNTED: Final[Mapping[CodeType, str]] = {
    function.__code__: kind
    for kind, function in (
        ("encoded", wire.Codec.encode),
        ("decoded", wire.Codec.decode),
        ("hashes", hashing.sha512_256),
        ("signatures", identity.Identity.sign),
        ("checks", identity.verify),
        ("sealed", aead.Sealer.seal),
        ("opened", aead.Opener.open),
    )
}

KINDS: Final = ("calls", *_COUNTED.values(), "statements", "syncs")
"""What is counted: calls of functions in Python, messages, and what must not be done more often than needed."""

_LOOPS: Final = ("/asyncio/", "/selectors.py")
"""Part of the names of files whose calls are not counted: the event loop, which is uvloop in a program."""

_WARM_PAYMENTS: Final = 20


class _Calls:
    """Counts the calls of functions while a program runs."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in NODES}
        self._is_of_loop: dict[CodeType, bool] = {}

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Count for the program of this name."""
        if name not in self.counts:
            yield
            return
        sys.setprofile(self._look(self.counts[name]))
        try:
            yield
        finally:
            sys.setprofile(None)

    def _look(self, counts: Counter[str]) -> Callable[[FrameType, str, Any], None]:
        is_of_loop = self._is_of_loop

        def look(frame: FrameType, event: str, argument: Any) -> None:
            if event != "call":
                return
            code = frame.f_code
            if code not in is_of_loop:
                is_of_loop[code] = any(part in code.co_filename for part in _LOOPS)
            counts["calls"] += not is_of_loop[code]
            if code in _COUNTED:
                counts[_COUNTED[code]] += 1

        return look


class _Profiles:
    """Notes how often and how long functions run, by program."""

    def __init__(self) -> None:
        self.profiles = {name: cProfile.Profile() for name in NODES}

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Note for the program of this name."""
        profile = self.profiles.get(name)
        if profile is None:
            yield
            return
        profile.enable()
        try:
            yield
        finally:
            profile.disable()


def count_calls(payments: int, in_flight: int) -> dict[str, dict[str, float]]:
    """What each node does for a payment over one mediator, by `KINDS`."""
    calls = _Calls()
    with _network() as network:
        network.pay(max(in_flight, _WARM_PAYMENTS), in_flight)
        stored = {name: (database.statements, database.batches) for name, database in network.databases.items()}
        network.watch = calls.watch
        network.pay(payments, in_flight)
        for name, database in network.databases.items():
            statements, batches = stored[name]
            calls.counts[name]["statements"] = database.statements - statements
            calls.counts[name]["syncs"] = database.batches - batches
    return {name: {kind: counts[kind] / payments for kind in KINDS} for name, counts in calls.counts.items()}


def _profile(payments: int, in_flight: int) -> dict[str, cProfile.Profile]:
    profiles = _Profiles()
    with _network() as network:
        network.pay(max(in_flight, _WARM_PAYMENTS), in_flight)
        network.watch = profiles.watch
        network.pay(payments, in_flight)
    return profiles.profiles


@contextmanager
def _network() -> Iterator[LockstepNetwork]:
    with tempfile.TemporaryDirectory(prefix="offset-calls-") as directory:
        network = LockstepNetwork(Path(directory), NODES)
        try:
            yield network
        finally:
            network.close()


def _function_name(code: CodeType | str) -> str:
    if isinstance(code, str):
        return code
    return f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno} {code.co_name}"


def _print_functions(profile: cProfile.Profile, payments: int, count: int) -> None:
    found = profile.getstats()
    for what, order in (
        ("called most", lambda entry: -entry.callcount),
        ("longest by themselves", lambda entry: -entry.inlinetime),
    ):
        print(f"  {what}: calls and microseconds for a payment")
        for entry in sorted(found, key=order)[:count]:
            calls, micros = entry.callcount / payments, entry.inlinetime / payments * 1e6
            print(f"  {calls:8.2f} {micros:8.1f}  {_function_name(entry.code)}")


@click.command()
@click.option("--payments", default=200, show_default=True, type=click.IntRange(1))
@click.option("--in-flight", default=(1, 50), show_default=True, multiple=True, type=click.IntRange(1))
@click.option("--functions", default=0, show_default=True, type=click.IntRange(0), help="List so many of each node.")
def main(payments: int, in_flight: tuple[int, ...], functions: int) -> None:
    """Print what a payment costs."""
    for number in in_flight:
        print(f"{number} in flight")
        for name, counts in count_calls(payments, number).items():
            print(f"  {name:8} " + ", ".join(f"{kind} {counts[kind]:.2f}" for kind in KINDS))
        if functions:
            for name, profile in _profile(payments, number).items():
                print(f" {name}")
                _print_functions(profile, payments, functions)


if __name__ == "__main__":
    main()
