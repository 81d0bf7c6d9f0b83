"""The SDK for scripts without an event loop, by its public name; its home is `offset_ctrl.sdk.blocking`."""

from offset_ctrl.sdk.blocking import BlockingNode, connect

__all__ = ["BlockingNode", "connect"]
