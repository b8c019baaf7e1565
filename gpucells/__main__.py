"""``python -m gpucells`` is ``gpucells``."""

import sys

from gpucells.cli import main

sys.exit(main())
