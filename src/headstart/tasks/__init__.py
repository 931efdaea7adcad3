"""TASKS: one file tells one task completely."""
