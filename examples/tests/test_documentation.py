"""What the documentation shows is what there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("tool", ["hook_reference", "log_reference", "metric_reference"])
def test_a_reference_is_made_from_the_declarations(tool: str) -> None:
    """Those of docs/plugins.md, docs/reference/log-events.md and docs/reference/metrics.md."""
    command = [sys.executable, ROOT / "tools" / f"{tool}.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_plugin_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code and its test are run as they are printed."""
    module, test = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    (tmp_path / "offset_office_hours.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    scope: dict[str, object] = {}
    exec(compile(test, "tutorial", "exec"), scope)
    run = scope["test_no_payments_at_night"]
    assert callable(run)
    run()
