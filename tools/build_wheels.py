"""
Build the wheel of every package into a directory, unless they are there and newer than the sources.

    python tools/build_wheels.py DIRECTORY

uv does it in a fifth of the time that pip takes, so uv is put into DIRECTORY once; pip is used where there is none.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _newest(paths: list[Path]) -> float:
    return max((path.stat().st_mtime for path in paths), default=0.0)


def find_uv(directory: Path) -> str | None:
    """The program uv in *directory*, or None where it cannot be installed, or was not."""
    program = directory / ".uv" / "bin" / "uv"
    return str(program) if program.exists() else None


def _install_uv(directory: Path) -> None:
    if find_uv(directory) is None:
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(directory / ".uv"), "uv>=0.9,<1"]
        subprocess.run([*command, "--only-binary", ":all:"], capture_output=True)


def main(target: Path) -> None:
    """Build what is missing or older than its sources."""
    target.mkdir(parents=True, exist_ok=True)
    _install_uv(target)
    uv = find_uv(target)
    for package in sorted((ROOT / "packages").iterdir()):
        sources = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        wheels = list(target.glob(f"{package.name.replace('-', '_')}-*.whl"))
        if wheels and _newest(wheels) > _newest(sources):
            continue
        for wheel in wheels:
            wheel.unlink()
        if uv is not None:
            command = [uv, "build", "-q", "--wheel", "--no-create-gitignore", "-o", str(target), str(package)]
        else:
            command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(package)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
