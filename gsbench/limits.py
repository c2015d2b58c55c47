"""The cores and the memory that this process may use: the minimum over machine, affinity and control groups.

A batch system or a container limits a process by control groups, of version 2, version 1 or both. A process belongs to
one group of each hierarchy, and the limits of all ancestors of this group apply to the process too.

`root` is the folder with /proc and the mounted hierarchies.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

ROOT = Path("/")


def available_cores(root: Path = ROOT) -> int:
    """The number of processor cores that this process may use: the quota rounded down, but at least 1."""
    cores = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        cores.append(len(os.sched_getaffinity(0)))
    return max(1, math.floor(min([*cores, *_quotas(root)])))


def available_bytes(root: Path = ROOT) -> int:
    """The host memory that this process can still allocate."""
    return max(0, min([int(psutil.virtual_memory().available), *_free_bytes(root)]))


def _quotas(root: Path) -> Iterator[float]:
    """The number of cores, as a share of time, that each control group of this process allows."""
    for group in _groups(root, None):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        yield from _share(quota, period)
    for group in _groups(root, "cpu"):
        yield from _share(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))


def _share(quota: str, period: str) -> Iterator[float]:
    """quota/period, both in microseconds, if they are numbers: "max" in version 2 and -1 in version 1 mean no limit."""
    if quota.isdecimal() and period.isdecimal() and int(period):
        yield int(quota) / int(period)


def _free_bytes(root: Path) -> Iterator[int]:
    """The bytes that each control group still allows. memory.high counts too: above it, processes are slowed down."""
    for group in _groups(root, None):
        limits = [_text(group / "memory.max"), _text(group / "memory.high")]
        yield from _left(limits, _text(group / "memory.current"), _counts(group).get("inactive_file", "0"))
    for group in _groups(root, "memory"):
        counts = _counts(group)
        # The second is the minimum over this group and its ancestors, some of which may not be mounted here.
        limits = [_text(group / "memory.limit_in_bytes"), counts.get("hierarchical_memory_limit", "")]
        yield from _left(limits, _text(group / "memory.usage_in_bytes"), counts.get("total_inactive_file", "0"))


def _left(limits: list[str], used: str, inactive: str) -> Iterator[int]:
    """The smallest numeric limit ("max" means none) minus the used bytes.

    The used bytes include the `inactive` file cache, which the system frees on demand, so that is added again.
    """
    if numbers := [int(limit) for limit in limits if limit.isdecimal()]:
        yield min(numbers) - int(used if used.isdecimal() else 0) + int(inactive if inactive.isdecimal() else 0)


def _counts(group: Path) -> dict[str, str]:
    """A group's memory.stat: lines such as `inactive_file 4096`."""
    parts = (line.partition(" ") for line in _text(group / "memory.stat").splitlines())
    return {name: count for name, _, count in parts}


@functools.cache
def _groups(root: Path, controller: str | None) -> tuple[Path, ...]:
    """The mounted folders of this process's group and of its ancestors. They are looked up once.

    controller   a controller of version 1, such as "memory"; None: version 2, which has all controllers
    """
    own, mount = _own_group(root, controller), _mount(root, controller)
    if own is None or mount is None:
        return ()
    top, mounted = mount
    # In some containers the mount shows a part of the hierarchy that does not contain the process's path. The top of
    # the mount is then the container's own group.
    visible = own.is_relative_to(top) and ".." not in own.parts
    parts = own.relative_to(top).parts if visible else ()
    folder = root / mounted.lstrip("/")
    return tuple(folder.joinpath(*parts[:n]) for n in range(len(parts) + 1))


def _own_group(root: Path, controller: str | None) -> PurePosixPath | None:
    """This process's group in its hierarchy. A line is like `4:cpu,cpuacct:/batch/job7` or `0::/batch/job7`."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number == "0" and not controllers) if controller is None else controller in controllers.split(","):
            return PurePosixPath(path)
    return None


def _mount(root: Path, controller: str | None) -> tuple[str, str] | None:
    """The group at the top of the mounted hierarchy, and the folder where it is mounted.

    A line is `31 23 0:26 /top /where rw,… - cgroup2 cgroup2 rw`, with optional fields before the dash.
    """
    for line in _text(root / "proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        place, (kind, *_, options) = fields.split(" "), rest.split(" ") if " " in rest else ["", ""]
        wanted = kind == "cgroup2" if controller is None else kind == "cgroup" and controller in options.split(",")
        if wanted and len(place) >= 5:
            return _unescaped(place[3]), _unescaped(place[4])
    return None


def _unescaped(path: str) -> str:
    """A path of mountinfo, which writes a space as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _text(path: Path) -> str:
    """The file's text, or "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
