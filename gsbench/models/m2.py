"""M2, the semi-supervised variational autoencoder (Kingma et al. 2014, arXiv 1406.5298), which Jang et al. timed."""

from __future__ import annotations

from gsbench.backends.base import Array, Tensor
from gsbench.models.base import ClassBound, Model, Noise
from gsbench.models.labels import ClassValues
from gsbench.models.network import Role


class M2(Model):
    """Recognition q(y|x) q(z|x,y); generation p(y) p(z) p(x|y,z), with p(y) = 1/K, p(z) = N(0, I)."""

    name = "m2"

    def _make_networks(self) -> None:
        c = self.config
        self.q_y_x = self._network("q_y_x", Role.RECOGNITION_OF_Y, c.n_classes, x=c.n_pixels)
        self.q_z_xy = self._network("q_z_xy", Role.OTHER_RECOGNITION, 2 * c.d_z, x=c.n_pixels, y=c.n_classes)
        self.p_x_yz = self._network("p_x_yz", Role.GENERATIVE, c.n_pixels, y=c.n_classes, z=c.d_z)

    def class_logits(self, x: Array, noise: Noise) -> Tensor:
        n_mc = noise.eps_z.shape[0]
        logits_y = self.q_y_x(x=noise.drop(x[None, None]), keep=noise.keep_hidden)[0]  # [1, B, K]
        return self.bk.broadcast_to(logits_y, (n_mc, x.shape[0], self.config.n_classes))

    def class_bound(self, x: Array, noise: Noise) -> ClassBound:
        context = {"first_q_z": self.q_z_xy.first(x=x[None, None])}  # [1, 1, B, H]
        return ClassBound(self, x[None, None], noise, self.class_logits(x, noise), context)

    def bound_of(self, y: ClassValues, f: ClassBound) -> Tensor:
        bk, head_z = self.bk, self.q_z_xy(y=y, plus=f.context["first_q_z"])
        z, log_q_z = bk.gaussian_draw(head_z, f.noise.eps_z, self.config.log_var_limits)  # [N, C, B, D_z]
        log_p_x = bk.bernoulli_log_density(f.x, self.p_x_yz(y=y, z=z))  # [N, C, B]
        return log_p_x + bk.standard_gaussian_log_density(z) - log_q_z + self.log_p_y

    def encode(self, x: Array, y: ClassValues) -> Tensor:
        return self.q_z_xy(x=x[None, None], y=y)[..., : self.config.d_z]  # the head's first half is its mean
