"""
Errors of all Offset packages, sorted by fate.

What a caller does about an error depends on whose fault it is, so that is what the tree shows:

==================  =======================================================================
PeerError           The other side broke the protocol. Close that link, or mark that channel.
RefusedError        The caller asked for what the present state forbids. Nothing has changed.
InvalidInput        A text, a file or an option does not say what it should.
InvariantBroken     Our own bug. Stop before credit moves on it; never caught below the shells.
==================  =======================================================================
"""

__all__ = [
    "InvalidInput",
    "InvariantBroken",
    "LimitExceeded",
    "MalformedMessage",
    "OffsetError",
    "PeerError",
    "RefusedError",
    "invariant",
]


class OffsetError(Exception):
    """
    Base of all errors that Offset raises on purpose.

    Args:
        message: What is wrong, where, and what to do. An error whose name is the specification's name for the reason
            says that name, and needs no message.
    """

    def __init__(self, message: object = None) -> None:
        super().__init__(type(self).__name__ if message is None else message)


class PeerError(OffsetError):
    """The other side broke the protocol: its link closes, or its channel becomes inconsistent."""


class MalformedMessage(PeerError):
    """Bytes of the peer are no message of the expected kind. Spec 02 §9."""


class LimitExceeded(PeerError):
    """A well-formed message of the peer holds a value beyond a limit. Spec 01 §1.1, 06 §9.3."""


class RefusedError(OffsetError):
    """The request can not be carried out in this state; the state is as it was before."""


class InvalidInput(OffsetError, ValueError):
    """A value given by a person or read from a file is not valid."""


class InvariantBroken(OffsetError):
    """A rule that our own code must keep does not hold."""


def invariant(condition: bool, name: str) -> None:
    """
    Check a rule that our own code must keep; unlike ``assert`` it survives ``python -O``.

    Raises:
        InvariantBroken: The rule called *name* does not hold: a bug of ours.
    """
    if not condition:
        raise InvariantBroken(name)
