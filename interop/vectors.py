"""
Run recorded values of the original against this implementation.

    python -m interop.vectors [DIR]

DIR (default: interop/vectors) holds JSON files as described in its README.md. Prints one line for each file
and one for each failed case; exits with 1 if any case failed, or a file or case is of no known kind.
"""

import sys
from pathlib import Path

from interop.runner.files import run_directory

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Run the directory named in *arguments*; returns the exit status."""
    directory = Path(arguments[0]) if arguments else Path(__file__).parent / "vectors"
    if not directory.is_dir():
        print(f"no such directory: {directory}", file=sys.stderr)
        return 1
    passed, failed = run_directory(directory)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
