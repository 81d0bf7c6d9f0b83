"""The API of stweb answers what its own description allows and forbids, as that says."""

from pathlib import Path

from interop.api import try_api


def test_a_few_hundred_requests(tmp_path: Path) -> None:
    """No fault of ours, and every answer has the form that the document declares."""
    status, said = try_api(tmp_path, 400, 1)
    assert status == 0, said
