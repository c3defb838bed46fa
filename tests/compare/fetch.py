"""The peers, from Debian's packages, where the benchmarks have them too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "bench"))

from beside.debian import FOLDER, environment, fetch, parser_of_rlinetd  # noqa: E402
from common import ROOT, Failure, end  # noqa: E402

TCPRULES = FOLDER / "ucspi-tcp/usr/bin/tcprules"

__all__ = ["ROOT", "TCPRULES", "Failure", "end", "environment", "fetch", "parser_of_rlinetd"]
