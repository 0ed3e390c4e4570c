"""What one clicks in a notebook; importing any of it needs ipywidgets."""
