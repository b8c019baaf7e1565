"""The command line: one file a verb, each thin; what it does is in the library.

Heavy modules are imported inside the verbs, so that ``gpucells --help`` answers at once.
"""

from gpucells.cli.app import main

__all__ = ["main"]
