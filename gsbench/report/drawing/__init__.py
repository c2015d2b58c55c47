"""The drawing of figures: a figure is a declaration, its points are a frame, and one of four shapes draws them."""
