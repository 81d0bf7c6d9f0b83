"""The name that `offset_node.plugins.testing` had in 0.1; works until 1.0."""

import warnings

from offset_node.plugins.testing import *  # noqa: F403 - whatever it had, it still has
from offset_node.plugins.testing import __all__ as __all__

warnings.warn("offset_node.plugin_testing is offset_node.plugins.testing now", DeprecationWarning, stacklevel=2)
