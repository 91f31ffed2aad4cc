"""What is measured, asked and concluded: plain values and rules."""
