"""The picture: drawn by matplotlib, in an environment of its own below target/."""

import subprocess
import sys

from common import OUT, ROOT, progress

PLACE = OUT / "matplotlib"


class NoPlot(Exception):
    """The tables stand without it."""


def draw(source, picture):
    python = PLACE / "bin" / "python"
    try:
        if not has_matplotlib(python):
            progress("fetching matplotlib for the plot")
            run([sys.executable, "-m", "venv", PLACE])
            run([python, "-m", "pip", "install", "--quiet", "matplotlib>=3.8,<4"])
        picture.unlink(missing_ok=True)
        run([python, ROOT / "bench" / "beside" / "picture.py", source, picture])
    except (OSError, subprocess.SubprocessError) as error:
        detail = (getattr(error, "stderr", "") or "").strip().splitlines()
        raise NoPlot(detail[-1] if detail else str(error)) from None


def has_matplotlib(python):
    return python.exists() and subprocess.run([python, "-c", "import matplotlib"], capture_output=True).returncode == 0


def run(command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=300)
