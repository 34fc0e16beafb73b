"""Set up the project's environment and run its tests: `python3 scripts/test.py [pytest arguments]`."""

import subprocess
import sys

from project import ROOT, DIF3DError, ensure_environment


def main() -> int:
    try:
        python = ensure_environment()
    except DIF3DError as error:
        print(f"test.py: {error}", file=sys.stderr)
        return 1
    return subprocess.run([str(python), "-m", "pytest", *sys.argv[1:]], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
