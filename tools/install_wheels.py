"""
Install packages from the wheels of this tree, with their declared dependencies and an extra, if one is named.

    python tools/install_wheels.py WHEELHOUSE NAME[EXTRA]...

Builds the wheels first. Wheels of Offset come from the directory, everything else from the package index; what is
installed of Offset already is replaced, as a changed tree keeps its version.
"""

import fcntl
import subprocess
import sys
from pathlib import Path

from build_wheels import main as build_wheels


def main(wheelhouse: Path, requirements: list[str]) -> None:
    """Build, remove what is there of Offset, install."""
    wheelhouse.mkdir(parents=True, exist_ok=True)
    with (wheelhouse / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # environments may be made at the same time
        build_wheels(wheelhouse)
    pip = [sys.executable, "-m", "pip"]
    ours = sorted({path.name.split("-")[0].replace("_", "-") for path in wheelhouse.glob("offset_*.whl")})
    subprocess.run([*pip, "uninstall", "-q", "-y", *ours], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([*pip, "install", "-q", "--find-links", str(wheelhouse), *requirements], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
