"""Cutting a movie to the memory at hand, and going over it piece by piece."""
