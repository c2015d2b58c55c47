"""The limits of a process, read from artificial trees of /proc and control groups."""

import os
from types import SimpleNamespace

import psutil
import pytest

from gsbench.limits import available_bytes, available_cores

GB = 10**9
MACHINE_CORES, MACHINE_BYTES = 64, 100 * GB
V2 = "30 23 0:26 {top} {where} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "31 30 0:27 {top} {where} rw,nosuid - cgroup cgroup rw,{controllers}"
NO_LIMIT = 9223372036854771712  # version 1's


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: MACHINE_CORES)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(MACHINE_CORES)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=MACHINE_BYTES))


def tree(root, own, mounts, files=()):
    """A root folder: /proc/self/cgroup with the lines `own`, /proc/self/mountinfo with `mounts`, and files by path."""
    others = ["22 1 8:1 / / rw - ext4 /dev/sda1 rw", "23 22 0:21 / /sys rw - sysfs sysfs rw"]
    proc = {"proc/self/cgroup": "\n".join(own), "proc/self/mountinfo": "\n".join([*others, *mounts])}
    for path, content in {**proc, **dict(files)}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{content}\n")
    return root


def version_2(root, own, files, top="/", where="/sys/fs/cgroup"):
    return tree(root, [f"0::{own}"], [V2.format(top=top, where=where)], files)


def version_1(root, controllers, own, files, top="/"):
    where = f"/sys/fs/cgroup/{controllers}"
    return tree(
        root, [f"4:{controllers}:{own}"], [V1.format(top=top, where=where, controllers=controllers)], files
    )


def test_without_control_groups_it_is_the_machine(tmp_path):
    assert available_cores(tmp_path) == MACHINE_CORES
    assert available_bytes(tmp_path) == MACHINE_BYTES


def test_affinity_is_a_limit_and_may_not_be_known(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert available_cores(tmp_path) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores(tmp_path) == MACHINE_CORES
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores(tmp_path) == 1


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("400000 100000", 4), ("250000 100000", 2), ("100000 100000", 1), ("50000 100000", 1), ("1000 100000", 1),
     ("max 100000", MACHINE_CORES), ("9900000 100000", MACHINE_CORES), ("300000 0", MACHINE_CORES), ("", MACHINE_CORES),
     ("30000 10000", 3), ("400000", MACHINE_CORES), ("nonsense here", MACHINE_CORES)],
)  # fmt: skip
def test_the_quota_of_version_2(tmp_path, quota, cores):
    assert available_cores(version_2(tmp_path, "/job", {"sys/fs/cgroup/job/cpu.max": quota})) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [(400000, 100000, 4), (150000, 100000, 1), (50000, 100000, 1), (-1, 100000, MACHINE_CORES), (20000, 10000, 2),
     ("", 100000, MACHINE_CORES)],
)  # fmt: skip
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_the_quota_of_version_1(tmp_path, controllers, quota, period, cores):
    folder = f"sys/fs/cgroup/{controllers}/job"
    files = {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": period}
    assert available_cores(version_1(tmp_path, controllers, "/job", files)) == cores


def test_the_affinity_may_be_less_than_the_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert available_cores(version_2(tmp_path, "/job", {"sys/fs/cgroup/job/cpu.max": "800000 100000"})) == 2


@pytest.mark.parametrize("at", ["", "slurm", "slurm/uid_7", "slurm/uid_7/job_9"])
def test_a_limit_of_any_ancestor_counts(tmp_path, at):
    folder = f"sys/fs/cgroup/{at}".rstrip("/")
    files = {f"{folder}/cpu.max": "200000 100000", f"{folder}/memory.max": 5 * GB, f"{folder}/memory.current": 2 * GB}
    root = version_2(tmp_path, "/slurm/uid_7/job_9", files)
    assert (available_cores(root), available_bytes(root)) == (2, 3 * GB)


def test_the_least_limit_of_all_ancestors_counts_and_no_other_groups(tmp_path):
    files = {
        "sys/fs/cgroup/a/cpu.max": "max 100000", "sys/fs/cgroup/a/memory.max": 20 * GB,
        "sys/fs/cgroup/a/memory.current": 19 * GB,
        "sys/fs/cgroup/a/b/cpu.max": "700000 100000", "sys/fs/cgroup/a/b/memory.max": 6 * GB,
        "sys/fs/cgroup/a/b/memory.current": 1 * GB,
        "sys/fs/cgroup/a/other/cpu.max": "100000 100000", "sys/fs/cgroup/a/other/memory.max": 100,
        "sys/fs/cgroup/a/b/below/memory.max": 100,
    }  # fmt: skip
    root = version_2(tmp_path, "/a/b", files)
    assert (available_cores(root), available_bytes(root)) == (7, 1 * GB)  # others in a use 19 of its 20 GB


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"max": 8 * GB, "current": 3 * GB}, 5 * GB),
        ({"max": 8 * GB, "current": 3 * GB, "stat": f"anon 5\ninactive_file {GB}\nfile 3"}, 6 * GB),
        ({"max": 8 * GB, "high": 4 * GB, "current": 3 * GB}, 1 * GB),
        ({"max": "max", "high": 4 * GB, "current": 3 * GB}, 1 * GB),
        ({"max": 8 * GB, "high": "max", "current": 9 * GB}, 0),
        ({"max": "max", "high": "max", "current": 3 * GB}, MACHINE_BYTES),
        ({"max": 8 * GB}, 8 * GB),
        ({"current": 3 * GB}, MACHINE_BYTES),
        ({"max": 0, "current": 0}, 0),
        ({"max": 300 * GB, "current": GB}, MACHINE_BYTES),
        ({"max": "", "current": "odd", "stat": "\n\nnothing"}, MACHINE_BYTES),
        ({"max": 8 * GB, "current": "odd", "stat": "inactive_file odd"}, 8 * GB),
    ],
)
def test_memory_of_version_2(tmp_path, files, free):
    named = {f"sys/fs/cgroup/job/memory.{name}": content for name, content in files.items()}
    assert available_bytes(version_2(tmp_path, "/job", named)) == free


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"limit_in_bytes": 8 * GB, "usage_in_bytes": 3 * GB}, 5 * GB),
        ({"limit_in_bytes": 8 * GB, "usage_in_bytes": 3 * GB, "stat": f"inactive_file 1\ntotal_inactive_file {GB}"},
         6 * GB),
        ({"limit_in_bytes": NO_LIMIT, "usage_in_bytes": 3 * GB}, MACHINE_BYTES),
        ({"limit_in_bytes": NO_LIMIT, "usage_in_bytes": GB, "stat": f"hierarchical_memory_limit {4 * GB}"}, 3 * GB),
        ({"limit_in_bytes": NO_LIMIT, "usage_in_bytes": GB, "stat": f"hierarchical_memory_limit {NO_LIMIT}"},
         MACHINE_BYTES),
        ({"usage_in_bytes": GB}, MACHINE_BYTES),
    ],
)  # fmt: skip
def test_memory_of_version_1(tmp_path, files, free):
    named = {f"sys/fs/cgroup/memory/pod/job/memory.{name}": content for name, content in files.items()}
    assert available_bytes(version_1(tmp_path, "memory", "/pod/job", named)) == free
    (tmp_path / "sys/fs/cgroup/memory/pod/memory.limit_in_bytes").write_text(str(2 * GB))
    assert available_bytes(tmp_path) == min(free, 2 * GB)


def test_both_versions_beside_each_other(tmp_path):
    """systemd's hybrid: version 2 without controllers, and a hierarchy of version 1 for each controller."""
    mounts = [
        V1.format(top="/", where="/sys/fs/cgroup/systemd", controllers="name=systemd"),
        V2.format(top="/", where="/sys/fs/cgroup/unified"),
        V1.format(top="/", where="/sys/fs/cgroup/cpu,cpuacct", controllers="cpu,cpuacct"),
        V1.format(top="/", where="/sys/fs/cgroup/memory", controllers="memory"),
    ]
    own = ["11:memory:/pbs/7", "4:cpu,cpuacct:/pbs/7/step", "1:name=systemd:/user", "0::/user"]
    files = {
        "sys/fs/cgroup/cpu,cpuacct/pbs/7/cpu.cfs_quota_us": 600000,
        "sys/fs/cgroup/cpu,cpuacct/pbs/7/cpu.cfs_period_us": 100000,
        "sys/fs/cgroup/memory/pbs/7/memory.limit_in_bytes": 3 * GB,
        "sys/fs/cgroup/memory/pbs/7/memory.usage_in_bytes": GB,
        "sys/fs/cgroup/unified/user/cgroup.procs": 1,
    }
    root = tree(tmp_path, own, mounts, files)
    assert (available_cores(root), available_bytes(root)) == (6, 2 * GB)
    (tmp_path / "sys/fs/cgroup/unified/user/cpu.max").write_text("300000 100000\n")
    (tmp_path / "sys/fs/cgroup/unified/user/memory.max").write_text(f"{GB}\n")
    assert (available_cores(root), available_bytes(root)) == (3, GB)


@pytest.mark.parametrize(
    ("own", "top"),
    [
        ("/", "/"),  # a container with its own namespace
        ("/docker/1f", "/docker/1f"),  # a container without one: it sees its own part of the hierarchy
        ("/../../other", "/"),  # a container that was moved out of the mounted part
        ("/docker/1f", "/docker/2e"),
    ],
)
def test_a_container_whose_group_is_the_root_of_the_mount(tmp_path, own, top):
    files = {"sys/fs/cgroup/cpu.max": "200000 100000", "sys/fs/cgroup/memory.max": GB}
    root = version_2(tmp_path, own, files, top=top)
    assert (available_cores(root), available_bytes(root)) == (2, GB)


def test_a_group_below_the_container_s_top(tmp_path):
    files = {"sys/fs/cgroup/step/cpu.max": "200000 100000", "sys/fs/cgroup/memory.max": GB}
    root = version_2(tmp_path, "/docker/1f/step", files, top="/docker/1f")
    assert (available_cores(root), available_bytes(root)) == (2, GB)


def test_mount_points_with_spaces_and_groups_with_colons(tmp_path):
    files = {"my groups/a:b/cpu.max": "200000 100000"}
    assert available_cores(version_2(tmp_path, "/a:b", files, where="/my\\040groups")) == 2


@pytest.mark.parametrize("lines", [[], ["nonsense"], ["0::"], ["5:memory:/x"], ["::::"], ["", "0::/gone"]])
@pytest.mark.parametrize("mounts", [[], ["nonsense"], ["1 2 3 - cgroup2"], [V2.format(top="/", where="/nowhere")]])
def test_an_unreadable_file_is_no_limit(tmp_path, lines, mounts):
    root = tree(tmp_path, lines, mounts)
    assert (available_cores(root), available_bytes(root)) == (MACHINE_CORES, MACHINE_BYTES)


def test_here_they_are_numbers_that_a_process_could_have(monkeypatch):
    monkeypatch.undo()
    assert 1 <= available_cores() <= os.cpu_count()
    assert 10_000_000 < available_bytes() <= psutil.virtual_memory().total
