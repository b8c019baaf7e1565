"""Published methods, one folder each: arrays in, cells out."""
