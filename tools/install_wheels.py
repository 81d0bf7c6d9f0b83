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

from build_wheels import find_uv
from build_wheels import main as build_wheels


def main(wheelhouse: Path, requirements: list[str]) -> None:
    """Build, remove what is there of Offset, install."""
    wheelhouse.mkdir(parents=True, exist_ok=True)
    with (wheelhouse / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # environments may be made at the same time
        build_wheels(wheelhouse)
    ours = sorted({path.name.split("-")[0].replace("_", "-") for path in wheelhouse.glob("offset_*.whl")})
    words = ["-q", "--find-links", str(wheelhouse), *requirements]
    uv = find_uv(wheelhouse)
    if uv is not None:
        again = [word for name in ours for word in ("--reinstall-package", name)]
        # Compiled once here: the tests start many processes, which write no bytecode.
        command = [uv, "pip", "install", "--python", sys.executable, "--compile-bytecode", *again, *words]
        subprocess.run(command, check=True)
        return
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "uninstall", "-q", "-y", *ours], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([*pip, "install", *words], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
