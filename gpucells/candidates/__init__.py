"""What methods share about candidates: finding them, cutting their footprints, judging and measuring them."""
