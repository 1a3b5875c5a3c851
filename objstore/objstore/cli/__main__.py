"""`python -m objstore.cli` is the command `objstore`."""

import sys

from objstore.cli import main

sys.exit(main())
