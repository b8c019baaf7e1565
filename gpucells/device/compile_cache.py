"""Where compiled CPU kernels are kept from run to run.

numba keeps them beside the package, and in the user's cache folder where the package is read-only. Where neither can
be written (a container without a home, a read-only image) numba refuses to compile; then a folder of this process
alone is used, and the next run compiles again. A folder in a place that others can write is no choice: what numba
loads from its cache is code.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

_log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).resolve().parents[1]


def provide_compile_cache(folders: Iterable[Path] | None = None) -> Path | None:
    """Make sure that numba has a folder to keep compiled kernels in; call it before they are defined.

    Parameters
    ----------
    folders : iterable of Path, optional
        Where numba would keep them by itself.

    Returns
    -------
    Path or None
        The folder that was made for this process; None where numba has one.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return None
    if any(_is_writable(folder) for folder in (_usual_folders() if folders is None else folders)):
        return None
    made = Path(tempfile.mkdtemp(prefix="gpucells-compiled-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(made)
    if "numba" in sys.modules:  # it read the environment when it was imported
        sys.modules["numba"].config.CACHE_DIR = str(made)
    _log.warning("no folder to keep compiled code in: every run compiles again; set NUMBA_CACHE_DIR to a writable one")
    return made


def _usual_folders() -> Iterable[Path]:
    yield _PACKAGE / "ops" / "__pycache__"
    if sys.platform == "win32":
        user = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        user = "~/Library/Caches"
    else:
        user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    if user:
        yield Path(os.path.expanduser(user)) / "numba"  # noqa: PTH111  (Path.expanduser raises where there is no home)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
