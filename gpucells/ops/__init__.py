"""Arithmetic with one public function an operation; the type of the arrays picks the body."""

import os

from gpucells.device.compile_cache import provide_compile_cache

# Threads that wait for work should sleep: spinning, the default of OpenMP, takes half as much time again of both cores
# between two parallel loops (7.0 CPU seconds instead of 4.5). Read when OpenMP is loaded; a user's own choice stands.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
provide_compile_cache()
