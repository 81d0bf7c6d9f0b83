"""Whole networks under faults: every invariant after every step, and every payment ends."""

import os
from random import Random

import pytest

from offset_node.simulation.plan import SOME_FAULTS, TOPOLOGIES, Faults, Plan
from offset_node.simulation.scenario import Scenario, run
from offset_node.state import NodeState
from offset_proto.errors import InvariantBroken

SEED = 5


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES))
def test_two_hundred_nodes(topology):
    """2,500 payments among 200 nodes, with all faults."""
    plan = Plan(nodes=200, payments=2500, topology=topology, per_tick=50, faults=SOME_FAULTS)
    try:
        summary = run(plan, Random(SEED))
    except InvariantBroken as error:
        raise AssertionError(
            f"{plan}, seed {SEED}, PYTHONHASHSEED={os.environ.get('PYTHONHASHSEED')}: {error}"
        ) from error
    assert sum(summary.outcomes.values()) == 2500
    assert summary.outcomes["paid"] > 1500  # about 2,000; which ones depends on the order of sets, too
    assert summary.crashes > 0
    assert summary.checked > 30_000


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES))
def test_without_faults_everything_is_paid(topology):
    """Nothing is cancelled without a cause."""
    summary = run(Plan(nodes=20, payments=100, topology=topology), Random(1))
    assert summary.outcomes == {"paid": 100}
    assert summary.resets == 0


@pytest.mark.parametrize("seed", range(6))
def test_every_fault_at_once(seed):
    """Small networks in which something always goes wrong."""
    faults = Faults(
        crash=0.005,
        crash_before_storing=0.003,
        crash_after_storing=0.003,
        loss=0.02,
        silence=0.003,
        server_crash=0.02,
        index_change=0.01,
        slow=0.1,
        malicious=0.1,
    )
    summary = run(Plan(nodes=15, payments=80, topology="ring", per_tick=2, faults=faults), Random(seed))
    assert sum(summary.outcomes.values()) == 80


@pytest.mark.parametrize("seed", range(4))
def test_crashes_cost_nobody_anything(seed):
    """Honest nodes that crash at every moment: no channel breaks, and everybody has exactly what was paid."""
    faults = Faults(crash=0.01, crash_before_storing=0.005, crash_after_storing=0.005, loss=0.02, server_crash=0.02)
    plan = Plan(nodes=20, payments=150, topology="ring", per_tick=3, faults=faults)
    summary = run(plan, Random(seed))  # compares what each node has with what was paid to it
    assert summary.crashes > 10
    assert summary.resets == 0


@pytest.mark.parametrize("seed", range(3))
def test_malicious_nodes_alone(seed):
    """A fifth of the nodes lies to its friends; honest friends stay whole, and every payment ends."""
    summary = run(Plan(nodes=30, payments=200, faults=Faults(malicious=0.2)), Random(seed))
    assert sum(summary.outcomes.values()) == 200
    assert summary.resets > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_lost_batch_is_noticed(seed):
    """The simulation can fail: a node that goes on from an older state, as with a disk that lies about its syncs."""
    scenario = Scenario(Plan(nodes=10, payments=300, topology="ring"), Random(seed))
    node = scenario.monitor.nodes[min(scenario.monitor.nodes)]

    def forget(old: NodeState) -> None:
        node.stored = old
        node.crash(1)

    def wait() -> None:
        if len(scenario.wallets.done) < 50:
            scenario.world.after(0.5, wait)
        else:
            old = node.stored
            scenario.world.after(3, lambda: forget(old))

    wait()
    with pytest.raises((InvariantBroken, AssertionError)):
        scenario.run()


@pytest.mark.parametrize("seed", range(3))
def test_sellers_fall_asleep_and_invoices_end(seed):
    """Nodes stop for minutes in any moment of a payment; the ends of invoices free all that is frozen by then."""
    faults = Faults(asleep=0.01, crash=0.002, crash_before_storing=0.001, crash_after_storing=0.001, loss=0.005)
    plan = Plan(nodes=15, payments=120, topology="ring", per_tick=1, faults=faults, invoice_ticks=60)
    summary = run(plan, Random(seed))
    assert summary.outcomes["paid"] > 0
    assert summary.outcomes["cancelled"] > 0
    assert summary.resets == 0  # so every balance was compared with what was paid


@pytest.mark.parametrize("seed", range(4))
def test_nodes_are_restored_from_old_backups(seed):
    """
    At any moment, from backups of any age, under all other faults: no friend ever sees two successors of a token.

    Each channel that breaks is reset to the terms of one side. In the end both sides of all friendships agree, nothing
    is frozen, and the credits of all add up to nothing.
    """
    faults = Faults(crash=0.005, crash_before_storing=0.002, crash_after_storing=0.002, loss=0.01, restore=0.02)
    scenario = Scenario(Plan(nodes=12, payments=120, topology="ring", per_tick=2, faults=faults), Random(seed))
    summary = scenario.run()
    assert summary.restores > 0  # about ten; which ones depends on the order of sets, too
    assert summary.resets > 0
    assert summary.outcomes["paid"] > 0
    assert scenario.monitor.seen.tokens > 200


def test_a_seed_repeats_a_run():
    """Two runs of one seed in one interpreter end in the same state of every node; another seed ends in another."""
    faults = Faults(loss=0.02, malicious=0.1, crash=0.01, index_change=0.01)
    plan = Plan(nodes=12, payments=40, topology="ring", faults=faults)
    one, again, other = (run(plan, Random(seed)) for seed in (3, 3, 4))
    assert one == again
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("seed", range(2))
def test_index_servers_are_replaced_while_payments_pass(seed):
    """Nodes that crash around the change have the old server, the new one or both, and go on paying."""
    faults = Faults(crash=0.01, crash_before_storing=0.01, crash_after_storing=0.01, index_change=0.05)
    scenario = Scenario(Plan(nodes=10, payments=100, topology="ring", per_tick=2, faults=faults), Random(seed))
    summary = scenario.run()
    assert summary.index_changes > 5
    assert summary.outcomes["paid"] > 50
    stored = [node.stored.index_servers for node in scenario.monitor.nodes.values()]
    assert any(server.name == "another index" for servers in stored for server in servers)
