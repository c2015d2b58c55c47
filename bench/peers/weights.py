"""Converts gsbench's weights for the peers, whose first layers are not split over inputs but take them concatenated."""

from __future__ import annotations

from typing import Any

import numpy as np


def concatenated_weights(model: Any) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """The layers (W [out, in], b [out]) of each network of a gsbench model, by the network's name.

    The columns of a first W follow the order in which the model names the network's inputs: a, x, y for q(z|a,x,y);
    y, z for p(x|y,z); x, y, z for p(a|x,y,z).
    """
    layers = {}
    for network in model.networks:
        values = {key.split("/")[1]: model.bk.to_numpy(p) for key, p in network.parameters.items()}
        first = [w.T if key == "W_y" else w for key, w in values.items() if key.startswith("W_")]
        weights = [np.concatenate(first, axis=1), *(w for key, w in values.items() if key[0] == "W" and "_" not in key)]
        layers[network.name] = [(w, values[f"b{i}"]) for i, w in enumerate(weights, start=1)]
    return layers
