"""One training loop and one evaluation for all tasks; knows Protocols only."""
