"""Some questions and answers kept for people to look at: few, redacted, sealed and not for long. Off by default."""
