"""The name that `offset_node.plugins.scope` had in 0.1; works until 1.0."""

import warnings

from offset_node.plugins.scope import *  # noqa: F403 - whatever it had, it still has
from offset_node.plugins.scope import __all__ as __all__

warnings.warn("offset_node.report_scope is offset_node.plugins.scope now", DeprecationWarning, stacklevel=2)
