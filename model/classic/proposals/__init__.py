"""Where objects may be: selective search, a file, or a region proposal network."""
