"""The name that `offset_proto.message_json` had in 0.1; works until 1.0."""

import warnings

from offset_proto.message_json import *  # noqa: F403 - whatever it had, it still has
from offset_proto.message_json import __all__ as __all__

warnings.warn("offset_proto.json_form is offset_proto.message_json now", DeprecationWarning, stacklevel=2)
