"""
The tables of docs/reference/metrics.md, made from the declarations of the metrics.

    python tools/metric_reference.py            writes them
    python tools/metric_reference.py --check    fails where the file has others
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from made_pages import keep_part
from offset_crypto.link_counts import LINK_MEASURES
from offset_crypto.measures import Measure
from offset_crypto.status_pages import STATUS_MEASURES
from offset_index.metrics import INDEX_MEASURES
from offset_node.metrics import NODE_MEASURES
from offset_relay.metrics import RELAY_MEASURES

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reference" / "metrics.md"
BEGIN = "<!-- made by tools/metric_reference.py -->\n"


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


if __name__ == "__main__":
    sys.exit(keep_part(DOCUMENT, BEGIN, reference(), "the declarations", sys.argv))
