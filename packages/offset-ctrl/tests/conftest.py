"""What all tests of this package share."""

import pytest


@pytest.fixture(autouse=True)
def patient_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have ticks of milliseconds, and a busy machine may need many of them for a handshake."""
    for module in ("offset_crypto.aio.sockets", "offset_crypto.link"):
        monkeypatch.setattr(f"{module}.HANDSHAKE_TICKS", 1000)
