"""The name that `offset_node.plugins.values` had in 0.1; works until 1.0."""

import warnings

from offset_node.plugins.values import *  # noqa: F403 - whatever it had, it still has
from offset_node.plugins.values import __all__ as __all__

warnings.warn("offset_node.policy is offset_node.plugins.values now", DeprecationWarning, stacklevel=2)
