"""What the documentation shows is what there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_reference_of_hooks_is_that_of_the_hookspecs() -> None:
    """docs/plugins.md is made from them."""
    command = [sys.executable, ROOT / "tools" / "hook_reference.py", "--check"]
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
