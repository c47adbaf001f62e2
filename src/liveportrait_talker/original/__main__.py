"""`python -m liveportrait_talker.original`: the same as `inference.py` at the root of the repository."""

import sys

from .inference import main

sys.exit(main())
