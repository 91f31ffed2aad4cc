"""The supervisor behind `servemesh up`: the whole mesh as child processes of one process on this machine."""
