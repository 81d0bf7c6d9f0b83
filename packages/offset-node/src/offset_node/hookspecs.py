"""The name that `offset_node.plugins.hooks` had in 0.1; works until 1.0."""

import warnings

from offset_node.plugins.hooks import *  # noqa: F403 - whatever it had, it still has
from offset_node.plugins.hooks import __all__ as __all__

warnings.warn("offset_node.hookspecs is offset_node.plugins.hooks now", DeprecationWarning, stacklevel=2)
