"""What the optimizer stands on: one file or folder per outside thing."""
