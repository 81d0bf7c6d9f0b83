"""The suite of recorded values can fail: it tells a changed value, an unknown kind, and nothing at all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[1] / "vectors"


def _run(directory: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "interop.vectors", str(directory)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=VECTORS.parents[1])
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The recorded values, to change."""
    return Path(shutil.copytree(VECTORS, tmp_path / "vectors"))


def _flip(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return ("1" if value[:1] != "1" else "2") + value[1:]
        case list():
            return [*value[:-1], _flip(value[-1])] if value else ["1"]
        case dict():
            first = next(iter(value))
            return {**value, first: _flip(value[first])}
        case _:
            return "1"


def test_recorded_values() -> None:
    """All of them."""
    status, said = _run(VECTORS)
    assert status == 0, said
    assert said.endswith(" 0 failed\n")


@pytest.mark.parametrize(
    "name", ["crypto/hash.json", "signature/response.json", "capnp/relay.json", "routes/split.json"]
)
def test_a_changed_value_is_found(copy: Path, name: str) -> None:
    """One expected value of one case differs: that case fails, by name, and no other."""
    path = copy / name
    content = json.loads(path.read_text())
    case = content["cases"][1]
    case["expected"] = _flip(case["expected"])
    path.write_text(json.dumps(content))
    status, said = _run(copy)
    assert status == 1
    assert said.endswith(" 1 failed\n"), said
    assert name in said


def test_parts_of_zero_credits_are_compared_without(copy: Path) -> None:
    """The original recorded a part of 0 credits: ours has none, with a deviation that says so and without one (D77)."""
    path, name = copy / "routes/split.json", "a part of nothing"
    content = json.loads(path.read_text())
    case = next(case for case in content["cases"] if len(case["expected"].get("choice") or ()) > 1)
    ours, expected = case["expected"], {**case["expected"]}
    expected["choice"] = [*expected["choice"], {"route": len(expected["choice"]), "destPayment": "0"}]
    expected["fees"] = [*expected["fees"], "0"]
    content["cases"].append({**case, "name": name, "expected": expected})
    path.write_text(json.dumps(content))
    assert _run(copy)[0] == 0
    deviations = json.loads((copy / "deviations.json").read_text())
    entry = {"file": "routes/split.json", "case": name, "step": None, "defect": "D77", "original": "a part of 0"}
    for told, failed in ((ours, 0), (expected, 1)):
        changed = {**deviations, "cases": [*deviations["cases"], {**entry, "ours": told}]}
        (copy / "deviations.json").write_text(json.dumps(changed))
        assert _run(copy)[1].endswith(f" {failed} failed\n")


def test_an_unknown_kind_fails(copy: Path) -> None:
    """A file that nobody checks is no success; nor is an empty directory, nor none."""
    content = json.loads((copy / "crypto/hash.json").read_text())
    (copy / "crypto" / "unheard_of.json").write_text(json.dumps(content))
    status, said = _run(copy)
    assert status == 1
    assert "unheard_of" in said
    (copy / "empty").mkdir()
    assert _run(copy / "empty")[0] == 1
    assert _run(copy / "nowhere")[0] == 1
