"""The metrics on the figures' axes, each defined once: label, whether higher is better, and scale."""

from gsbench.report.drawing import axes
from gsbench.report.drawing.shapes import Metric

CLASSES = Metric("number of classes K")
CHUNK = Metric("classes in a chunk")
TEMPERATURE = Metric("temperature τ")
EPOCH = Metric("epoch", scale=axes.linear)

STEPS_PER_SECOND = Metric("training steps per second", "faster", better=1)
TRAINING_TIME = Metric("training time (s)", "slower", better=-1)
BOUND_TIME = Metric("time of the bound (ms)", "slower", better=-1)
TIME_PER_CLASS = Metric("time of the bound per class (s)", better=-1, scale=axes.linear_or_log)
MEMORY = Metric("peak memory (MiB)", better=-1)
SPEED_UP = Metric("times as fast", better=1, level=1.0)
CHUNK_SPEED = Metric("times as fast as the default chunk", better=1, scale=axes.linear_from_zero, level=1.0)
PEER_SPEED = Metric("times as fast as the peer", "faster", better=1, scale=axes.log_with_room, level=1.0)
RATIO = Metric("ratio", scale=axes.log_around_one, level=1.0)
SHARE_OF_PEAK = Metric("share of the peak", better=1, scale=axes.shares)
ACCURACY = Metric("validation accuracy (%)", "better", better=1, scale=axes.percents)

BIAS = Metric("relative bias", better=-1, scale=axes.from_zero, level=0.0)
DEVIATION = Metric("relative standard deviation", better=-1)
VARIANCE = Metric("relative variance", better=-1)
PRICE = Metric("variance × time (ms)", better=-1)
ERROR = Metric("relative error (lower is better)", better=-1, scale=axes.from_zero)
