"""The name that `offset_ctrl.sdk.node` had in 0.1; works until 1.0."""

import warnings

from offset_ctrl.sdk.node import *  # noqa: F403 - whatever it had, it still has
from offset_ctrl.sdk.node import __all__ as __all__

warnings.warn("offset_ctrl.node is offset_ctrl.sdk.node now", DeprecationWarning, stacklevel=2)
