"""`python -m conceptseg`, the same as the command `conceptseg`."""

import sys

from .cli.main import main

sys.exit(main())
