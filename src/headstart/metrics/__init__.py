"""Metrics and their intervals, on plain arrays; knows no task and no model."""
