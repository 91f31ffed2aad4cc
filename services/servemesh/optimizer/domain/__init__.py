"""Rules and values of the optimizer: plain Python and numpy."""
