"""The child process that does one heavy step: `python -m servemesh.optimizer.adapters.child FOLDER`."""
