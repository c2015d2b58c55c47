"""gsbench: what it costs to sum over the classes of a discrete latent variable, against sampling one."""

__version__ = "0.1.0"
