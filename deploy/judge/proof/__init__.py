"""The judge judged: how often it is wrong, on simulated and on real pairs, beside the rules it replaces."""
