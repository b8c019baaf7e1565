"""ROI: traces of footprints that are given, of any result or drawn by hand."""
