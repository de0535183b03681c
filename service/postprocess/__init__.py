"""Candidates -> detections in image pixels. Pure numpy and OpenCV."""
