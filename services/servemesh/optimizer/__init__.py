"""Makes smaller and faster Versions out of Models, with proof."""
