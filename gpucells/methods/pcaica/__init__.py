"""PCA-ICA: principal, then independent components (Mukamel, Nimmerjahn & Schnitzer 2009)."""
