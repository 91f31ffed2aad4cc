"""Pictures as SVG and pages as HTML that need nothing else: no script, no font, no network; light, dark and printed."""
