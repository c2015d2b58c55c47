"""What is to be measured or trained: the case, the recipe of training, the run, and the presets."""
