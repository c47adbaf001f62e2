"""The command of the 2024 original: `python inference.py --config_path … --source_path … --audio_path …`.

For scripts that call the original; `liveportrait-talker generate` has more options.
"""

import sys

from liveportrait_talker.original.inference import main

if __name__ == "__main__":
    sys.exit(main())
