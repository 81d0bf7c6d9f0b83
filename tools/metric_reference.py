"""
The tables of docs/reference/metrics.md, made from the declarations of the metrics.

    python tools/metric_reference.py            writes them
    python tools/metric_reference.py --check    fails where the file has others
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from offset_crypto.link_counts import LINK_MEASURES
from offset_crypto.measures import Measure
from offset_crypto.status_pages import STATUS_MEASURES
from offset_index.metrics import INDEX_MEASURES
from offset_node.metrics import NODE_MEASURES
from offset_relay.metrics import RELAY_MEASURES

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reference" / "metrics.md"
BEGIN, END = "<!-- made by tools/metric_reference.py -->\n", "<!-- end -->\n"


def reference() -> str:
    """A table for what all servers have, and one for each program."""
    sections: tuple[tuple[str, Iterable[Measure[Any]]], ...] = (
        ("All servers", (*STATUS_MEASURES, *LINK_MEASURES)),
        ("stnode", NODE_MEASURES),
        ("strelay", RELAY_MEASURES),
        ("stindex", INDEX_MEASURES),
    )
    return "\n".join(f"## {title}\n\n{_table(measures)}" for title, measures in sections)


def _table(measures: Iterable[Measure[Any]]) -> str:
    rows = [f"| `{measure.name}` | {measure.kind.value} | {measure.text}{_label(measure)} |" for measure in measures]
    return "\n".join(["| metric | kind | what it says |", "|---|---|---|", *rows]) + "\n"


def _label(measure: Measure[Any]) -> str:
    if not measure.label:
        return ""
    values = ", ".join(f"`{value}`" for value in measure.values) or "the names of the plugins"
    return f". Label `{measure.label}`: {values}"


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit status."""
    text = DOCUMENT.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{DOCUMENT.name}: the marks of the reference are missing")
        return 1
    made = f"{before}{BEGIN}\n{reference()}\n{END}{after}"
    if "--check" not in arguments:
        DOCUMENT.write_text(made)
    elif made != text:
        print(f"{DOCUMENT.name}: the reference is not that of the declarations; run tools/metric_reference.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
