"""Arithmetic with one public function an operation; the type of the arrays picks the body."""
