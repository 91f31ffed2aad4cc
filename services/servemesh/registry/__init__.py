"""The registry: what is known of models and what is wished of them, and which worker holds what."""
