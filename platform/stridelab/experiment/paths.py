"""Files that an experiment names."""

from __future__ import annotations

import os
from pathlib import Path


def named_file(path: str) -> Path:
    """Return a file or folder that an experiment names.

    A relative path starts at the folder where the study was started; Tune moves its trials to
    folders of their own.
    """
    return Path(os.environ.get("TUNE_ORIG_WORKING_DIR", "")) / path
