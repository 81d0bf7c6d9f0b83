"""What an app may ask for, with what the original does not know. Spec 12 §6."""

from offset_proto.message import frozen
from offset_proto.messages.app import AppPermissions

__all__ = ["ExtendedPermissions"]


@frozen
class ExtendedPermissions(AppPermissions):
    """What an app may ask for, with what the original does not know: *history* without *config*."""

    history: bool

    def allows(self, permission: str) -> bool:
        """Whether it includes the permission of that name."""
        return (permission == "history" and self.history) or AppPermissions.allows(self, permission)
