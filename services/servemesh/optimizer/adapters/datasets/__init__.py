"""Datasets on disk: read from what users give, kept as one file per column, read back row by row."""
