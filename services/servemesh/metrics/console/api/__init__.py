"""What browsers ask of a console."""
