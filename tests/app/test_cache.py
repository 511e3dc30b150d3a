"""The cache computes once, keeps a bounded number, and forgets what failed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lib.cache import OnceCache


def test_second_request_is_served_from_the_cache():
    cache, calls = OnceCache(2), []
    assert cache.get("a", lambda: calls.append(1) or "made") == ("made", False)
    assert cache.get("a", lambda: calls.append(1) or "again") == ("made", True)
    assert len(calls) == 1


def test_concurrent_requests_for_one_key_compute_once():
    cache, calls = OnceCache(2), []
    ready = threading.Barrier(8)

    def make() -> int:
        calls.append(1)
        time.sleep(0.05)
        return 7

    def ask(_) -> int:
        ready.wait()
        return cache.get("a", make)[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [7] * 8
    assert len(calls) == 1


def test_requests_for_two_keys_do_not_wait_for_each_other():
    cache, meeting = OnceCache(2), threading.Barrier(2, timeout=5)
    with ThreadPoolExecutor(2) as pool:  # the barrier breaks unless both are inside `make` together
        found = [pool.submit(cache.get, key, lambda: meeting.wait() >= 0) for key in "ab"]
    assert all(f.result() == (True, False) for f in found)


def test_least_recently_used_entry_goes_first():
    cache = OnceCache(2)
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda key=key: key.upper())
    assert len(cache) == 2
    assert cache.get("a", lambda: "new") == ("A", True)
    assert cache.get("b", lambda: "new") == ("new", False)


def test_failure_is_not_kept_and_reaches_the_caller():
    cache = OnceCache(1)

    def fail():
        raise ValueError("broken image")

    with pytest.raises(ValueError, match="broken image"):
        cache.get("a", fail)
    assert len(cache) == 0 and cache._making == {}
    assert cache.get("a", lambda: 1) == (1, False)


def test_clear_forgets_everything():
    cache = OnceCache(3)
    cache.get("a", lambda: 1)
    cache.clear()
    assert len(cache) == 0


def test_one_value_is_forgotten_alone():
    cache = OnceCache(3)
    for key in "ab":
        cache.get(key, lambda key=key: key)
    cache.forget("a")
    cache.forget("unknown")
    assert cache.get("b", lambda: "new") == ("b", True)
    assert cache.get("a", lambda: "new") == ("new", False)


def test_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="got 0"):
        OnceCache(0)


def test_large_values_push_older_ones_out_but_never_the_newest():
    cache = OnceCache(4, nbytes=len, max_bytes=10)
    for value in ("aaaa", "bbbb"):
        cache.get(value, lambda value=value: value)
    assert len(cache) == 2
    cache.get("cccc", lambda: "cccc")
    assert cache.get("bbbb", lambda: "new")[1] and not cache.get("aaaa", lambda: "aaaa")[1]
    cache.get("huge", lambda: "h" * 99)
    assert len(cache) == 1 and cache.get("huge", lambda: "new")[1]
