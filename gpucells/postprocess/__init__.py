"""From the components of tiles to cells: matching and scoring against truth or another result."""
