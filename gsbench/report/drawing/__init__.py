"""How figures are drawn: a figure is declared, its points are a frame, and one of four shapes draws them."""
