"""The name that `offset_node.plugins.access` had in 0.1; works until 1.0."""

import warnings

from offset_node.plugins.access import *  # noqa: F403 - whatever it had, it still has
from offset_node.plugins.access import __all__ as __all__

warnings.warn("offset_node.plugin_store is offset_node.plugins.access now", DeprecationWarning, stacklevel=2)
