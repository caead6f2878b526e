"""``python -m tapegrad``."""

from __future__ import annotations

import sys

from tapegrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
