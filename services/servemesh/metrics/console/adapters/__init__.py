"""What a console reaches the outside through."""
