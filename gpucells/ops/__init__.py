"""Arithmetic with one public function an operation; the type of the arrays picks the body."""

from gpucells.device.compile_cache import provide_compile_cache

provide_compile_cache()
