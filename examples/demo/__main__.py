"""`make demo`, or `python -m examples.demo`: a whole mesh, two real models, and a worker that is killed."""

import sys

from examples.demo.demo import main

if __name__ == "__main__":
    sys.exit(main())
