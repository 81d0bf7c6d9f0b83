"""The floor of the benchmark: what servers do for a payment is counted, and done again as often."""

import asyncio
from collections import Counter
from pathlib import Path

from bench.counted import KINDS, counted_programs, read_counts
from bench.floor import do_all, floor_cpu_seconds
from bench.payments import build_chain, run_payments
from interop.network import Cast, Network

PAYMENTS = 20


def _counts(network: Network, programs: Path) -> dict[str, Counter[str]]:
    counts = {}
    for name, server in network.servers.items():
        assert server.process is not None
        counts[name] = Counter(read_counts(programs, server.process.pid))
    return counts


def test_what_servers_do_for_a_payment_is_counted(tmp_path: Path) -> None:
    """What the protocol prescribes for each payment is seen at whoever does it, and in nobody's place."""
    programs, directory = tmp_path / "programs", tmp_path / "network"
    programs.mkdir()
    directory.mkdir()
    with Network(directory, Cast(counted_programs(programs))) as network:
        names = build_chain(network, 2)
        before = _counts(network, programs)
        asyncio.run(run_payments(network, names, count=PAYMENTS, in_flight=1))
        after = _counts(network, programs)
        done = {name: after[name] - before[name] for name in after}
    buyer, seller, relay = (done[name] for name in (*names, "relay"))
    assert buyer["checks"] >= PAYMENTS  # of responses
    assert seller["checks"] >= PAYMENTS  # of commits
    assert seller["signatures"] >= PAYMENTS  # of responses
    assert min(buyer["commits"], seller["commits"]) >= 2 * PAYMENTS  # before a request, and before its end
    assert min(buyer["statements"], seller["statements"]) > 2 * PAYMENTS
    assert relay["signatures"] == relay["checks"] == relay["commits"] == 0
    assert relay["reads"]
    assert relay["writes"]
    assert all(counts[kind] for counts in (buyer, seller) for kind in KINDS)


def test_work_is_spread_over_the_payments() -> None:
    """As often as it was counted, also what is done for one payment of several."""
    done: Counter[str] = Counter()
    works = [(rate, lambda rate=rate: done.update([f"{rate:g}"])) for rate in (0.0, 0.3, 1.0, 2.5)]
    do_all(works, 10)
    assert done == {"0.3": 3, "1": 10, "2.5": 25}
    do_all(works, 1)
    assert done == {"0.3": 3, "1": 11, "2.5": 27}


def test_the_floor_does_every_kind_of_work() -> None:
    """In a process of its own, which raises where one of them fails, and ends also where there is nothing to do."""
    assert floor_cpu_seconds({kind: 30.0 if "bytes" not in kind else 100.0 for kind in KINDS}, 5) > 0
    floor_cpu_seconds(dict.fromkeys(KINDS, 0.0), 5)
