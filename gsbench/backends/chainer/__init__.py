"""The Chainer backend: NumPy on a CPU, CuPy on a CUDA device. What the others import is `backend.ChainerBackend`."""
