"""The Chainer backend: NumPy on a CPU, CuPy on a CUDA device. Other packages import `backend.ChainerBackend`."""
