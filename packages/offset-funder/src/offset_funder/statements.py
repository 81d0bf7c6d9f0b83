"""
What was said to a friend on one link, so that it is not said again. Pure.

A funder repeats its last token whenever it has something to wait for, and whenever the friend repeats the token before
it (spec 05 §10.1); its messages are statements that replace each other. A link loses nothing, so one that was made on
it already needs no repetition. Two friends that answer each repetition with one of their own would never stop: the
more payments are under way, the more of them there are, until nothing else passes.
"""

from offset_proto.messages.friend import FriendMessage, MoveTokenRequest
from offset_proto.types import Signature

__all__ = ["Statements"]


class Statements:
    """Of our side, on one link; a new link begins with a new one."""

    def __init__(self) -> None:
        self._last: tuple[Signature, bool] | None = None

    def is_news(self, message: FriendMessage) -> bool:
        """Whether *message* is to be sent; a token that was said, and no less urgently, is not."""
        if not isinstance(message, MoveTokenRequest):
            self._last = None
            return True
        said = (message.move_token.new_token, message.token_wanted)
        if self._last in (said, (said[0], True)):
            return False
        self._last = said
        return True
