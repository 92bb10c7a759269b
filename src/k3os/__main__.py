"""`python -m k3os` is the same as the `k3os` command."""

import sys

from k3os.cli.main import main

sys.exit(main(sys.argv[1:]))
