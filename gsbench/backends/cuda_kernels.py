def bernoulli(xp, x, logits):
    raise NotImplementedError
