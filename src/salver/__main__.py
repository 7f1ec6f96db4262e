"""`python -m salver` is `salver`."""

import sys

from salver.cli.main import main

sys.exit(main())
