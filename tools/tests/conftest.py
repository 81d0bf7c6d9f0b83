"""The tools are programs in one folder, which import each other as Python does for a script."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
