"""The training command of the 2024 original: `python train.py --config_path … --mode download|threedmm|train`.

For scripts that call the original; `liveportrait-talker dataset` and `train` have more options.
"""

import sys

from liveportrait_talker.original.train import main

if __name__ == "__main__":
    sys.exit(main())
