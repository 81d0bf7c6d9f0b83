"""
Tables and plots of what ``python -m bench`` has measured.

    python -m bench.report bench.json docs/performance

writes ``table.md`` and the plots as SVG. Needs matplotlib.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from bench.clearing import LIVES
from bench.measured import Figures, Measured
from bench.routes import DEMAND_PERCENTS, NETWORKS

PERCENTILES: Final = (1, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)
"""Of the latency of payments."""

STORED_PERCENTS: Final = (0, 10, 40, 100)
"""Of what is stored beside the payments of the row about that."""


@dataclass(frozen=True)
class Goal:
    """
    What is to be reached.

    Attributes:
        row: Of the measurement.
        figure: Of the row.
        original: What the original has reached on a machine of the same kind, as published with the goals; None where
            it was not measured.
        goal: What we want; at least that where more is better, at most that where less is.
        more_is_better: Which of the two.
    """

    row: str
    figure: str
    original: float | None
    goal: float
    more_is_better: bool = True


def _payment_goals() -> list[Goal]:
    originals = {
        1: {2: 13.8, 3: 10.2, 5: 8.2},
        10: {2: 39.0, 3: 20.0, 5: 17.0},
        50: {2: 53.0, 3: 39.0, 5: 28.0},
    }
    wanted = {
        1: {2: 41.4, 3: 30.6, 5: 24.6},
        10: {2: 156.0, 3: 80.0, 5: 68.0},
        50: {2: 150.0, 3: 100.0, 5: 60.0},
    }
    goals = []
    for in_flight, by_nodes in originals.items():
        for nodes, original in by_nodes.items():
            row = f"payments, {nodes} nodes, {in_flight} in flight"
            goals.append(Goal(row, "payments/s", original, wanted[in_flight][nodes]))
    return goals


def _route_goals() -> list[Goal]:
    """As often as the reference where there is room, and nearly so where there is little."""
    return [
        Goal(f"routes, {name}", f"of the reference at {percent}%", None, 1.0 if percent <= 80 else 0.97)
        for name in NETWORKS
        for percent in DEMAND_PERCENTS
    ]


GOALS: Final = [
    *_payment_goals(),
    Goal("payments, 2 nodes, 1 in flight", "p50 ms", 71.0, 20.0, more_is_better=False),
    Goal("payments, 2 nodes, 10 in flight", "CPU ms n0", 15.0, 5.0, more_is_better=False),
    Goal("payments, 2 nodes, 10 in flight", "CPU ms n1", 13.0, 5.0, more_is_better=False),
    Goal("payments, 2 nodes, 10 in flight", "CPU ms relay", 12.5, 3.0, more_is_better=False),
    Goal("rate with stored state", "kept at 100%", 0.58, 0.95),
    Goal("rate with logs and metrics", "kept", None, 0.98),
    Goal("node start", "seconds with 10,000 friends", None, 3.0, more_is_better=False),
    Goal("keys and backups, 10,000 friends", "slowest backup under payments s", None, 5.0, more_is_better=False),
    Goal("keys and backups, 10,000 friends", "payments kept meanwhile", None, 0.9),
    Goal("keys and backups, 10,000 friends", "slowest locked backup under payments s", None, 5.0, more_is_better=False),
    Goal("keys and backups, 10,000 friends", "payments kept meanwhile, locked", None, 0.9),
    Goal("relay, one tunnel", "messages/s", 3100.0, 8000.0),
    Goal("relay, one tunnel", "relay CPU us each", 360.0, 120.0, more_is_better=False),
    Goal("relay, one tunnel", "round trip p50 ms", 1.05, 0.8, more_is_better=False),
    Goal("relay, idle listeners", "kB each later", 111.0, 20.0, more_is_better=False),
    Goal("relay, idle listeners", "set up/s", 1500.0, 1500.0),
    Goal("relay, idle listeners", "held", None, 15_000.0),
    Goal("index, 10,000 nodes", "routes/s", 90.0, 800.0),
    Goal("index, 10,000 nodes", "p95 ms", 34.0, 4.0, more_is_better=False),
    Goal("index, 10,000 nodes", "updates/s", 1500.0, 2500.0),
    Goal("index engine, 1,000,000 nodes", "p95 ms", None, 50.0, more_is_better=False),
    Goal("index engine, 1,000,000 nodes", "GiB", None, 1.5, more_is_better=False),
    *_route_goals(),
    Goal("routes, fees", "fees of the least, dearest", None, 1.01, more_is_better=False),
    Goal("routes, 10,000 nodes", "p95 ms", None, 15.0, more_is_better=False),
    Goal("routes, 1,000,000 nodes", "p95 ms", None, 60.0, more_is_better=False),
    *(Goal(f"clearing, {name}", "cleared, of what the planner clears", None, 0.85) for name in LIVES),
    Goal("bytes on the wire, idle", "B/s of an idle relay link", 2048.0, 40.0, more_is_better=False),
    Goal("command line", "info friends ms", 6.0, 300.0, more_is_better=False),
    Goal("command line", "--help ms", 2.0, 200.0, more_is_better=False),
]


def _median(rounds: list[Figures], figure: str) -> float:
    return statistics.median(round_[figure] for round_ in rounds)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _with_spread(rounds: list[Figures], figure: str) -> str:
    values = [round_[figure] for round_ in rounds]
    return f"{_number(statistics.median(values))} ({_number(min(values))} - {_number(max(values))})"


def _cell(*parts: str) -> str:
    """What is known, the rest left out."""
    return "; ".join(part for part in parts if part) or "-"


def _goal_line(measured: Measured, goal: Goal) -> str:
    """A line of the table. Where every round of an implementation stalled, it says so instead of a figure."""
    rounds, others = measured.figures_of(goal.row, "ours"), measured.figures_of(goal.row, "original")
    original = goal.original
    if "original" in measured.players(goal.row):
        original = _median(others, goal.figure) if others else None
    ours = _median(rounds, goal.figure) if rounds else None
    ratio, verdict = "-", "**not reached**"
    if ours is not None and original is not None:
        ratio = f"{ours / original if goal.more_is_better else original / ours:.2f}x"
    if ours is not None and (ours >= goal.goal if goal.more_is_better else ours <= goal.goal):
        verdict = "reached"
    source = " (measured here)" if others else ""
    cells = [
        goal.row,
        goal.figure,
        _cell(_with_spread(rounds, goal.figure) if rounds else "", measured.describe_stalls(goal.row, "ours")),
        _cell("" if original is None else _number(original) + source, measured.describe_stalls(goal.row, "original")),
        ratio,
        f"{'>=' if goal.more_is_better else '<='} {_number(goal.goal)}",
        verdict,
    ]
    return f"| {' | '.join(cells)} |"


def _title(row: str, player: str) -> str:
    return row if player == "ours" else f"{row} ({player})"


def _stall_lines(measured: Measured) -> list[str]:
    """The rounds that stalled, each with its reason; nothing where there are none."""
    lines = [
        f"| {_title(row, player)} | {measured.describe_stalls(row, player)} | {reason.replace('|', '/')} |"
        for row, by_player in measured.stalls.items()
        for player, reasons in by_player.items()
        for reason in reasons
    ]
    if not lines:
        return []
    return ["", "Rounds that stalled:", "", "| row | how many | why this one did |", "|---|---|---|", *lines]


def _ratio_lines(measured: Measured) -> list[str]:
    """Ours as a multiple of the build before, round by round; nothing where there was none."""
    lines = []
    for row in measured.rows():
        ours, before = measured.figures_of(row, "ours"), measured.figures_of(row, "before")
        pairs = list(zip(ours, before, strict=False))
        for figure in pairs[0][0] if pairs else []:
            ratios = [one[figure] / other[figure] for one, other in pairs if other.get(figure)]
            if ratios:
                median = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} - {max(ratios):.3f})"
                lines.append(f"| {row} | {figure} | {median} |")
    head = ["", "Beside the build before, round by round:", ""]
    return [*head, "| row | figure | ours / before, median (least - most) |", "|---|---|---|", *lines] if lines else []


def table(measured: Measured) -> str:
    """Every figure with its median and spread, goals and ratios first, and what stalled; Markdown."""
    lines = [
        "| row | figure | ours, median (least - most) | original | ratio | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = measured.rows()
    lines += [_goal_line(measured, goal) for goal in GOALS if goal.row in rows]
    lines += ["", "Everything else that was measured:", "", "| row | figure | median (least - most) |", "|---|---|---|"]
    known = {(goal.row, goal.figure) for goal in GOALS}
    drawn = {f"p{percent:g} ms" for percent in PERCENTILES} - {"p50 ms", "p95 ms", "p99 ms", "p100 ms"}
    for row in rows:
        for player in measured.players(row):
            rounds = measured.figures_of(row, player)
            for figure in rounds[0] if rounds else []:
                if ((row, figure) not in known or player != "ours") and figure not in drawn:
                    lines.append(f"| {_title(row, player)} | {figure} | {_with_spread(rounds, figure)} |")
            if not rounds:
                lines.append(f"| {_title(row, player)} | - | {measured.describe_stalls(row, player)} |")
    return "\n".join(lines + _ratio_lines(measured) + _stall_lines(measured)) + "\n"


def _plot_payments(measured: Measured, directory: Path) -> None:
    """Ours; a row of which every round stalled has no point."""
    import matplotlib.pyplot as plt

    figure, (rates, latencies) = plt.subplots(1, 2, figsize=(10, 4))
    for index, nodes in enumerate((2, 3, 5)):
        points = []
        for in_flight, style in ((1, ":"), (10, "--"), (50, "-")):
            rounds = measured.figures_of(f"payments, {nodes} nodes, {in_flight} in flight", "ours")
            if not rounds:
                continue
            points.append((in_flight, _median(rounds, "payments/s")))
            delays = [_median(rounds, f"p{percent:g} ms") for percent in PERCENTILES]
            label = f"{nodes} nodes, {in_flight} in flight"
            latencies.plot(delays, PERCENTILES, style, marker=".", color=f"C{index}", label=label)
        if points:
            rates.plot(*zip(*points, strict=True), marker="o", color=f"C{index}", label=f"{nodes} nodes")
    rates.set(xscale="log", xlabel="payments in flight", title="payments/s")
    rates.set_ylim(bottom=0)
    latencies.set(
        xscale="log", xlabel="ms from invoice to acknowledged receipt", title="percent of payments that took less"
    )
    for axes in (rates, latencies):
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(directory / "payments.svg")


def _plot_stored(rounds: list[Figures], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5))
    for label, name, style in (
        ("two nodes that store so much", "payments/s, {}% stored", "o-"),
        ("two that store nothing, in turns", "payments/s, nothing stored, beside {}%", "o--"),
    ):
        medians = [_median(rounds, name.format(percent)) for percent in STORED_PERCENTS]
        axes.plot(STORED_PERCENTS, medians, style, label=label)
    axes.set(xlabel="% of 1,000 friends, 10,000 invoices, 100,000 payments", title="payments/s, 10 in flight")
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def _plot_index(rounds: list[Figures], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5))
    sizes = sorted({int(name.split()[0]) for name in rounds[0]})
    for percentile in ("p50", "p95"):
        axes.plot(sizes, [_median(rounds, f"{size} nodes, {percentile} ms") for size in sizes], "o-", label=percentile)
    axes.set(xscale="log", xlabel="nodes, and three friendships for each", title="ms for a route, one client")
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


@click.command()
@click.argument("file", metavar="MEASURED", type=click.Path(exists=True, path_type=Path))
@click.argument("directory", type=click.Path(path_type=Path))
def main(file: Path, directory: Path) -> None:
    """Write tables and plots of MEASURED to DIRECTORY."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "offset"
    measured = Measured.load(file)
    directory.mkdir(parents=True, exist_ok=True)
    machine = ", ".join(f"{name} {value}" for name, value in measured.machine.items())
    (directory / "table.md").write_text(f"# Figures of a run\n\nMeasured on: {machine}.\n\n{table(measured)}")
    if any(row.startswith("payments, 2") for row in measured.rows()):
        _plot_payments(measured, directory)
    if stored := measured.figures_of("rate with stored state", "ours"):
        _plot_stored(stored, directory / "stored.svg")
    if index := measured.figures_of("index, by size", "ours"):
        _plot_index(index, directory / "index.svg")


if __name__ == "__main__":
    main()
