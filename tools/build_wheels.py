"""
Build the wheel of every package into a directory, unless they are there and newer than the sources.

    python tools/build_wheels.py DIRECTORY
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _newest(paths: list[Path]) -> float:
    return max((path.stat().st_mtime for path in paths), default=0.0)


def main(target: Path) -> None:
    """Build what is missing or older than its sources."""
    target.mkdir(parents=True, exist_ok=True)
    for package in sorted((ROOT / "packages").iterdir()):
        sources = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        wheels = list(target.glob(f"{package.name.replace('-', '_')}-*.whl"))
        if wheels and _newest(wheels) > _newest(sources):
            continue
        for wheel in wheels:
            wheel.unlink()
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(package)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
