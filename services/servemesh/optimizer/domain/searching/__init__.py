"""The search behind `auto`: which sequence of passes to try next, given all that is known so far."""
