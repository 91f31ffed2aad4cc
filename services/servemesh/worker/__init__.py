"""A stateless process that holds resident Versions and runs them."""
