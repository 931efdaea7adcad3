"""FORMATS: `open_dataset(path)` recognises a folder or table, says why, and reads it."""
