"""What flows between the steps: the movie, the components of one tile, the cells, and where they came from."""
