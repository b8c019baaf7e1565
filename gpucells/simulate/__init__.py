"""Movies whose cells are known: one file for each thing a recording is made of."""
