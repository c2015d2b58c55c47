"""What is minimised, on what, and how: the objective, minibatches, and the loop of training."""
