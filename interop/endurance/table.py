"""The table of an endurance run: a column for each chain."""

from collections import Counter
from collections.abc import Callable

from interop.endurance.plan import Outcome

__all__ = ["table"]


def _counted(counts: Counter[str]) -> str:
    total = sum(counts.values())
    return f"{total} ({', '.join(f'{name} {count}' for name, count in sorted(counts.items()))})" if total else "0"


def _stalls(stalls: list[float]) -> str:
    return f"{len(stalls)}, {sum(stalls):.0f} s in all, {max(stalls):.0f} s at most" if stalls else "0"


def _frozen_at_the_end(outcome: Outcome) -> str:
    if not outcome.frozen:
        return "nothing"
    if not outcome.frozen_after_restart:
        return f"{outcome.frozen} credits, released when the original was started again"
    return f"{outcome.frozen} credits, {outcome.frozen_after_restart} of them after the original was started again"


def table(outcomes: dict[str, Outcome]) -> str:
    """A column for each chain; Markdown."""
    rows: dict[str, Callable[[Outcome], object]] = {
        "payments paid": lambda outcome: f"{outcome.paid:,}",
        "payments cancelled": lambda outcome: outcome.cancelled,
        "payments whose end is unknown": lambda outcome: outcome.unknown,
        "links cut": lambda outcome: outcome.cuts,
        "kills of ours": lambda outcome: _counted(outcome.kills),
        "longest time without a payment": lambda outcome: f"{outcome.longest_pause:.0f} s",
        "stalls": lambda outcome: _stalls(outcome.stalls),
        "restarts that were needed": lambda outcome: _counted(outcome.restarts),
        "ends of a node by itself": lambda outcome: _counted(outcome.ended),
        "frozen at the end": _frozen_at_the_end,
        "payments/s, stalls included": lambda outcome: f"{outcome.paid / outcome.seconds:.1f}",
        "payments/s between stalls": lambda outcome: f"{outcome.paid / (outcome.seconds - sum(outcome.stalls)):.1f}",
        "faults": lambda outcome: "; ".join(outcome.faults) or "none",
    }
    lines = [f"| | {' | '.join(outcomes)} |", "|---" * (1 + len(outcomes)) + "|"]
    for title, cell in rows.items():
        lines.append(f"| {title} | {' | '.join(str(cell(outcome)) for outcome in outcomes.values())} |")
    return "\n".join(lines) + "\n"
