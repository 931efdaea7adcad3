"""Pages drawn from a run folder; knows no torch."""
