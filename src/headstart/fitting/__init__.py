"""The verb `fit`: `job` tells the story, each step is a file of its own. Only wiring."""
