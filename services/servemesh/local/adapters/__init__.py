"""What the supervisor touches: processes, ports, files, HTTP."""
