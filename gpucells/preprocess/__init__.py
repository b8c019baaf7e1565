"""Tile of movie in, tile of movie out."""
