"""What a worker process starts with. Never compiled, because `python -m` cannot run a compiled module."""

import sys

from vestibule.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
