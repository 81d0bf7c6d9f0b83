"""
docs/reference/log-events.md, made from the table of events.

    python tools/log_reference.py            writes it
    python tools/log_reference.py --check    fails where the file is another one
"""

import logging
import sys
from pathlib import Path

from made_pages import keep
from offset_proto.log_events import EVENTS, LogEvent

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reference" / "log-events.md"

_HEAD = """\
# Log events

<!-- made by tools/log_reference.py -->

What `stnode`, `strelay`, `stindex` and `stweb` tell in their logs. The default level is `info`, and an event is told
once for each change. [Chapter 9, §3.5](../protocol/09-cli.md) has the options, the form of the lines, and what becomes
of too many of them.

Names and fields are stable. No field is a secret. Balances, names of friends and addresses are among them, so hand a
log only to whom they may concern.

What is no event of this list has the event `message`: a text for people, which may change with any version.
"""


def reference() -> str:
    """One section for each event, in the order of the table."""
    return "\n".join([_HEAD, *map(_section, EVENTS)])


def _section(event: LogEvent) -> str:
    level = {logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}[event.level]
    rows = [f"* `{name}`: {text}" for name, text in event.fields.items()]
    cause = ", ".join(f"`{name}`" for name in event.cause)
    counted = f"counted for each {cause}" if cause else "counted as one"
    head = [f"## `{event.name}`\n", f"{event.meaning}\n", f"Level `{level}`; {counted}.\n"]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    sys.exit(keep(DOCUMENT, reference(), "the events of the table", sys.argv))
