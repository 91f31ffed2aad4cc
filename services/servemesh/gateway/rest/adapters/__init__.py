"""The edge that is asked, and the HTTP server that is asked from."""
