"""The `servemesh` command: the mesh as a person at a terminal, or a script, uses it."""
