"""The passes: what can be set and what is known of each before it runs."""
