"""The command ``rollback``, as ``python -m rollback_py``."""

import sys

from rollback_py.cli import main

sys.exit(main())
