"""The Auxiliary Deep Generative Model (Maaløe et al. 2016, arXiv 1602.05473)."""

from __future__ import annotations

from gsbench.backends.base import Array, Tensor
from gsbench.models.base import ClassBound, Model, Noise
from gsbench.models.labels import ClassValues
from gsbench.models.network import Role


class ADGM(Model):
    """Recognition q(a|x) q(y|a,x) q(z|a,x,y); generation p(y) p(z) p(x|y,z) p(a|x,y,z); p(y) = 1/K, p(z) = N(0, I)."""

    name = "adgm"
    has_a = True

    def _make_networks(self) -> None:
        c = self.config
        self.q_a_x = self._network("q_a_x", Role.OTHER_RECOGNITION, 2 * c.d_a, x=c.n_pixels)
        self.q_y_ax = self._network("q_y_ax", Role.RECOGNITION_OF_Y, c.n_classes, a=c.d_a, x=c.n_pixels)
        self.q_z_axy = self._network("q_z_axy", Role.OTHER_RECOGNITION, 2 * c.d_z, a=c.d_a, x=c.n_pixels, y=c.n_classes)
        self.p_x_yz = self._network("p_x_yz", Role.GENERATIVE, c.n_pixels, y=c.n_classes, z=c.d_z)
        self.p_a_xyz = self._network("p_a_xyz", Role.GENERATIVE, 2 * c.d_a, x=c.n_pixels, y=c.n_classes, z=c.d_z)

    def _draw_a(self, x: Array, noise: Noise) -> tuple[Tensor, Tensor]:
        """a [N, 1, B, D_a] and log q(a|x) [N, 1, B] for x [1, 1, B, D_x]"""
        return self.bk.gaussian_draw(self.q_a_x(x=x), noise.eps_a, self.config.log_var_limits)

    def class_logits(self, x: Array, noise: Noise) -> Tensor:
        x = x[None, None]
        a, _ = self._draw_a(x, noise)
        return self._logits(x, a, noise)

    def class_bound(self, x: Array, noise: Noise) -> ClassBound:
        x = x[None, None]
        a, log_q_a = self._draw_a(x, noise)
        context = {
            "a": a,
            "log_q_a": log_q_a,  # [N, 1, B]
            "first_q_z": self.q_z_axy.first(x=x, a=a),  # [N, 1, B, H]
            "first_p_a": self.p_a_xyz.first(x=x),  # [1, 1, B, H]
        }
        return ClassBound(self, x, noise, self._logits(x, a, noise), context)

    def _logits(self, x: Array, a: Tensor, noise: Noise) -> Tensor:
        return self.q_y_ax(x=noise.drop(x), a=a, keep=noise.keep_hidden)[:, 0]

    def bound_of(self, y: ClassValues, f: ClassBound) -> Tensor:
        bk, context, limits = self.bk, f.context, self.config.log_var_limits
        z, log_q_z = bk.gaussian_draw(self.q_z_axy(y=y, plus=context["first_q_z"]), f.noise.eps_z, limits)
        log_p_x = bk.bernoulli_log_density(f.x, self.p_x_yz(y=y, z=z))  # [N, C, B]
        head_a = self.p_a_xyz(y=y, z=z, plus=context["first_p_a"])
        log_p_a = bk.gaussian_log_density(context["a"], head_a, limits)
        log_p_z = bk.standard_gaussian_log_density(z)
        return log_p_x + log_p_a + log_p_z - log_q_z + (self.log_p_y - context["log_q_a"])

    def encode(self, x: Array, y: ClassValues) -> Tensor:
        x, c = x[None, None], self.config
        a = self.q_a_x(x=x)[..., : c.d_a]  # the head's first half is its mean
        return self.q_z_axy(x=x, a=a, y=y)[..., : c.d_z]
