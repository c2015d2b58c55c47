"""The PyTorch backend: on a CPU or a CUDA device."""
