"""The name that `offset_node.plugins.ticket` had in 0.1; works until 1.0."""

import warnings

from offset_node.plugins.ticket import *  # noqa: F403 - whatever it had, it still has
from offset_node.plugins.ticket import __all__ as __all__

warnings.warn("offset_node.permissions is offset_node.plugins.ticket now", DeprecationWarning, stacklevel=2)
