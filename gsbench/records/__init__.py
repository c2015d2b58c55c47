"""Records of measurements: written, read, checked, and set in one frame."""
