"""The command of the 2024 original: `python inference.py --config_path … --source_path … --audio_path …`.

`liveportrait-talker generate` does the same and more; this door is for scripts that call the original.
"""

import sys

from liveportrait_talker.original.inference import main

if __name__ == "__main__":
    sys.exit(main())
