"""HTTP for the services that speak it."""
