"""The training command of the 2024 original: `python train.py --config_path … --mode download|threedmm|train`.

`liveportrait-talker dataset` and `train` do the same and more; this door is for scripts that call the original.
"""

import sys

from liveportrait_talker.original.train import main

if __name__ == "__main__":
    sys.exit(main())
