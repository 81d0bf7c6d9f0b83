"""What the tests of this package share."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    """A program sets up the log of its process; a test leaves that as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
    root.handlers[:] = handlers
    root.setLevel(level)
