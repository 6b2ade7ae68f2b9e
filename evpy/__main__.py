"""``python -m evpy`` is ``evserver``."""

import sys

from evpy.server.cli import main

if __name__ == "__main__":
    sys.exit(main())
