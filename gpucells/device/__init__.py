"""The only package that knows hardware: which devices there are, and what memory may be used."""
