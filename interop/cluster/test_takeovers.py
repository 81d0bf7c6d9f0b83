"""A standby takes over again and again under load; nothing is lost, doubled, or signed twice."""

import os
from pathlib import Path
from random import Random

from interop.cluster.server import PostgresServer
from interop.takeovers.pair import Fault
from interop.takeovers.run import Plan, run, table

AT_ONCE = 10
PAUSE = (0.0, 3.0)


def test_takeovers_under_load(tmp_path: Path, server: PostgresServer) -> None:
    """Each thing that can happen once: payments go on, and all is exact in the end; how fast is no matter here."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    outcome = run(tmp_path, server.programs, Plan(len(Fault), AT_ONCE, Random(seed), print, PAUSE))
    print(table(outcome))
    assert outcome.faults == []
    assert outcome.ended["paid"] > AT_ONCE
    assert outcome.tokens > len(Fault) * AT_ONCE
