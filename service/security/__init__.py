"""Who may ask for what, and how much of it. Knows no door, no setting and no model."""
