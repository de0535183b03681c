"""`rcnn detect`: many images against a running service, or against bundles in this process, bounded and in order."""
