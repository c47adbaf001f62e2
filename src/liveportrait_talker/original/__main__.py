"""`python -m liveportrait_talker.original`: the same as `inference.py` in a checkout."""

import sys

from .inference import main

sys.exit(main())
