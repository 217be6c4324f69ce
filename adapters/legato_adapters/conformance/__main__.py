"""`python -m legato_adapters.conformance` is `legato conformance`."""

import sys

from legato_adapters.conformance.command import main

sys.exit(main())
