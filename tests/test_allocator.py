"""The process keeps the memory of freed arrays until it is released; a fresh process shows its resident memory."""

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys
import numpy as np, psutil
from gsbench.meters.allocator import freed_memory, keep_memory, release_memory

def array_comes_and_goes():
    before = resident()
    array = np.ones(100 * 2**20, dtype=np.uint8)
    del array
    return resident() - before

def resident():
    return psutil.Process().memory_info().rss

found = {"before": array_comes_and_goes(), "word_before": freed_memory()}
found["does"] = keep_memory()
found |= {"kept": array_comes_and_goes(), "word": freed_memory(), "once_more": array_comes_and_goes()}
held = resident()
release_memory()
found["released"] = held - resident()
print(json.dumps(found))
"""
MOST = 90 * 2**20  # of the array's 100 MiB


def test_freed_memory_is_kept_and_used_again_and_can_be_released():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["word_before"] == "returned"
    if not found["does"]:
        assert found["word"] == "returned"
        pytest.skip("the C library is not glibc")
    assert found["word"] == "kept"
    assert found["before"] < MOST / 10
    assert found["kept"] > MOST
    assert found["once_more"] < MOST / 10  # the same memory
    assert found["released"] > MOST
