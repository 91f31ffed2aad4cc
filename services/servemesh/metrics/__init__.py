"""Takes what all processes measure, and answers what the mesh did, does and will need."""
