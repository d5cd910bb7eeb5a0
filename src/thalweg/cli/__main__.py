"""``python -m thalweg.cli``, as ``thalweg``."""

import sys

from thalweg.cli import main

sys.exit(main())
