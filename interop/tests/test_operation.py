"""What operators get beside the programs: alert rules and a dashboard name figures that exist, and all of them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from offset_crypto.link_counts import LINK_MEASURES
from offset_crypto.measures import Kind, Measure
from offset_crypto.status_pages import STATUS_MEASURES
from offset_index.metrics import INDEX_MEASURES
from offset_node.metrics import NODE_MEASURES
from offset_relay.metrics import RELAY_MEASURES

OPERATION: Final = Path(__file__).parents[2] / "operation"
RULES: Final = OPERATION / "alerts.yml"
DASHBOARD: Final = OPERATION / "grafana-dashboard.json"
MEASURES: Final[tuple[Measure[Any], ...]] = (
    *STATUS_MEASURES,
    *LINK_MEASURES,
    *NODE_MEASURES,
    *RELAY_MEASURES,
    *INDEX_MEASURES,
)


def _series(measure: Measure[Any]) -> set[str]:
    """The names under which Prometheus knows a metric."""
    if measure.kind is not Kind.HISTOGRAM:
        return {measure.name}
    return {f"{measure.name}_{end}" for end in ("bucket", "sum", "count")}


def _named(text: str) -> set[str]:
    return set(re.findall(r"\boffset_[a-z_]+", text))


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_name_exists(path: Path) -> None:
    """An alert on a name that nobody gives never rings."""
    assert _named(path.read_text()) <= set().union(*map(_series, MEASURES))


def test_the_dashboard_shows_every_figure() -> None:
    """What nobody looks at need not be counted."""
    shown = _named(DASHBOARD.read_text())
    assert [measure.name for measure in MEASURES if not _series(measure) & shown] == []


def test_labels_in_rules_and_dashboard_exist() -> None:
    """A value of a label that is written out is one that the metric has."""
    by_name = {name: measure for measure in MEASURES for name in _series(measure)}
    text = RULES.read_text() + "\n".join(_expressions(json.loads(DASHBOARD.read_text())))
    found = re.findall(r'\b(offset_[a-z_]+)\{([a-z]+)=~?"([a-z_|]+)"', text)
    assert found
    for name, label, values in found:
        assert label == by_name[name].label
        assert set(values.split("|")) <= set(by_name[name].values)


def _expressions(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def test_the_how_to_has_something_to_say_of_every_alert() -> None:
    """Whoever is woken by one finds what to do."""
    how_to = (OPERATION.parent / "docs" / "how-to" / "watch-servers.md").read_text()
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    assert alerts
    assert [alert for alert in alerts if f"`{alert}`" not in how_to] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: it comes with Debian's package prometheus")
def test_promtool_accepts_the_rules() -> None:
    """It knows names, durations and templates, too."""
    checked = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True)  # noqa: S607
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: it comes with Debian's package prometheus")
def test_promtool_accepts_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    """Each as a rule, with Grafana's variables filled in."""
    expressions = _expressions(json.loads(DASHBOARD.read_text()))
    assert len(expressions) > 20
    filled = [text.replace("$__rate_interval", "1m").replace("$instance", ".*") for text in expressions]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(filled)]
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML, too
    checked = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)  # noqa: S607
    assert checked.returncode == 0, checked.stderr
