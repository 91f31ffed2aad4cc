"""Fails when a source file outgrows 300 lines: such a file has become two ideas."""

import subprocess
import sys
from pathlib import Path

LINES_MAX = 300
ENDINGS = {".py", ".lua", ".sh"}


def main() -> int:
    """Print every file that is too long; return 1 if there is one."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, check=True
    )
    files = (Path(line) for line in listed.stdout.decode().splitlines())
    lengths = {
        file: len(file.read_text().splitlines()) for file in files if file.suffix in ENDINGS and file.exists()
    }
    too_long = {file: length for file, length in lengths.items() if length > LINES_MAX}
    for file, length in sorted(too_long.items()):
        print(f"{file}: {length} lines, at most {LINES_MAX}: split it by idea")
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
