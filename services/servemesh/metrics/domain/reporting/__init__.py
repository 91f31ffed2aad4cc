"""Reports: what they say, of which window, and how they look."""
