"""The systems Faster R-CNN grew out of, and itself as first published: small, readable, true to the papers' numbers."""
