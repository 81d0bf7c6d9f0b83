"""The command: `python -m interop.drill`."""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

import click

from interop.by_hand import run_by_hand
from interop.drill.payments import Payments
from interop.drill.stories import STORIES, Drill, DrillFailed
from interop.drill.telling import Log
from interop.drill.village import ALICE, CURRENCY, FRIENDS, Village
from interop.programs import ORIGINAL_VARIABLE, CommandFailed, Implementation, MissingPrograms, find_original

__all__ = ["main", "run"]

WAYS: Final = (("bob", ALICE), (ALICE, "carol"), ("dave", "erin"), ("frank", "carol"))
"""One of them passes through Alice, and one has nothing to do with her; no payment is between Alice and Frank."""

PLAYERS: Final = ("carol", "erin")
"""Whose nodes are the original's, where its programs are given."""


def run(
    directory: Path,
    stories: tuple[str, ...],
    seconds: float,
    original: Implementation | None,
    *outputs: TextIO,
    paying: tuple[str, ...] = FRIENDS,
) -> None:
    """
    Set the village up, and live through *stories* in it.

    Args:
        directory: Of all files; empty.
        stories: Names of `STORIES`.
        seconds: For how long payments pass before each loss, roughly.
        original: Its programs, for two of the friends.
        outputs: Where the drill is told.
        paying: Friends that pay Alice by hand after each loss.

    Raises:
        DrillFailed: Something is not true after a story that must be.
        CommandFailed, TimeoutError: A command of a person failed, or something did not come.
    """
    log = Log(directory, *outputs)
    village = Village(directory, log, original, () if original is None else PLAYERS)
    payments = Payments(WAYS, village.app, CURRENCY)
    drill = Drill(village, payments, log, seconds, paying)
    try:
        log.head("Six nodes, a relay, an index server")
        village.set_up()
        words = village.run("stmgr", "ident-words", "-i", village.home(ALICE) / "node.ident").stdout
        payments.start()
        for story in stories:
            log.head(STORIES[story].__doc__ or story)
            STORIES[story](drill, words)
        log.head("Seconds from the loss")
        times = [(story, *map(round, took)) for story, took in drill.times.items()]
        log.table(["story", "until all balances are back", "until a payment has passed"], times)
    finally:
        payments.stop()
        village.stop()


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.command()
@click.argument("stories", nargs=-1, type=click.Choice(list(STORIES)))
@click.option("--original", type=click.Path(path_type=Path), help="Directory of the original's programs.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1, 86_400), help="Before each loss.")
@click.option("--log", "path", type=click.Path(path_type=Path), help="Also write the log to this file.")
def _drill(stories: tuple[str, ...], original: Path | None, seconds: float, path: Path | None) -> None:
    """Lose Alice's machine under load, and make it good; all STORIES, where none is named."""
    signal.signal(signal.SIGTERM, _raise_interrupt)
    if original is not None:
        os.environ[ORIGINAL_VARIABLE] = str(original.resolve())
    with ExitStack() as stack:
        outputs = [sys.stdout]
        if path is not None:
            outputs.append(stack.enter_context(path.open("w")))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="offset-drill-"))).resolve()
        run(directory, stories or tuple(STORIES), seconds, find_original(), *outputs)


def main() -> int:
    """Run the drill; the exit status tells whether it succeeded."""
    return run_by_hand(_drill, CommandFailed, DrillFailed, MissingPrograms, TimeoutError, RuntimeError)


if __name__ == "__main__":
    sys.exit(main())
