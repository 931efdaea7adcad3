"""STRATEGIES: which parameters learn, when, and how fast."""
