"""What all tests share: they never touch the user's cache of data sets, and take one thread."""

import os

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The matrices of tests are small: threads would only wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """A cache for the whole session, which subprocesses inherit."""
    before = os.environ.get("GSBENCH_CACHE")
    os.environ["GSBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["GSBENCH_CACHE"]
    else:
        os.environ["GSBENCH_CACHE"] = before
