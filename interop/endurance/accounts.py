"""Whether all credits of a chain are exact when everything should be settled."""

import itertools

from interop.endurance.chain import AMOUNT, FEE, Ledgers
from interop.endurance.plan import Outcome

__all__ = ["check", "frozen_credits"]


def check(names: list[str], before: Ledgers | None, after: Ledgers | None, outcome: Outcome) -> list[str]:
    """
    Whether all credits are exact: mirrored, nothing frozen, and moved as the receipts say.

    Args:
        names: Of the nodes of the chain, the buyer's first.
        before: The ledgers before the first payment.
        after: The ledgers at the end.
        outcome: How many payments were made.

    Returns:
        What is not exact, in words.
    """
    if before is None or after is None:
        return ["a node does not answer"]
    faults: list[str] = []
    counts: set[tuple[int, int]] = set()
    hops = list(itertools.pairwise(names))
    for number, (one, other) in enumerate(hops):
        near, far = after.get((one, other)), after.get((other, one))
        if near is None or far is None:
            faults.append(f"the channel of {one} and {other} is not consistent")
            continue
        if near.balance != -far.balance:
            faults.append(f"{one} and {other} do not agree: {near.balance} and {far.balance}")
        if frozen := near.local_pending_debt + near.remote_pending_debt:
            faults.append(f"{frozen} credits between {one} and {other} stay frozen")
        each = AMOUNT + FEE * (len(hops) - 1 - number)
        counts.add(divmod(before[one, other].balance - near.balance, each))
    if len(counts) > 1 or any(rest for _, rest in counts):
        faults.append(f"the balances are not of one number of payments: {sorted(counts)}")
    for paid, _ in sorted(counts):
        if not outcome.paid <= paid <= outcome.paid + outcome.unknown:
            faults.append(f"the balances are of {paid} payments, the receipts of {outcome.paid}")
    return faults


def frozen_credits(ledgers: Ledgers) -> int:
    """Credits that are frozen, added up over all ledgers."""
    return sum(ledger.local_pending_debt for ledger in ledgers.values())
