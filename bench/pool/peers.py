#!/usr/bin/python3
"""The peers' figures, by the same work as pool_bench: 8-byte numbers squared.

usage: peers.py mp|mpms|mpms-trip N       prints tasks/s; mpms-trip: the median of a round trip in µs

mpms is found on PYTHONPATH (2.5.4 is what the figures are compared with).
"""
import statistics
import sys
import time


def square(x):
    return x * x


def mp(n):
    import multiprocessing
    with multiprocessing.Pool(2) as pool:
        begin = time.monotonic()
        total = sum(pool.imap_unordered(square, range(n), 1))
        took = time.monotonic() - begin
    assert total == sum(i * i for i in range(n))
    return n / took


def mpms(n):
    import mpms as library
    total = 0

    def collect(meta, result):
        nonlocal total
        total += result

    pool = library.MPMS(square, collect, processes=2, threads=2, task_queue_maxsize=1000)
    pool.start()
    begin = time.monotonic()
    for i in range(n):
        pool.put(i)
    pool.join()
    took = time.monotonic() - begin
    assert total == sum(i * i for i in range(n))
    return n / took


def mpms_trip(n):
    import mpms as library
    pool = library.MPMS(square, processes=2, threads=2, task_queue_maxsize=1000)
    pool.start()
    results = pool.iter_results()
    took = []
    for i in range(n):
        begin = time.perf_counter()
        pool.put(i)
        next(results)
        took.append(time.perf_counter() - begin)
    pool.close()
    for _ in results:
        pass
    pool.join(close=False)
    return statistics.median(took) * 1e6


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print("%.3f" % {"mp": mp, "mpms": mpms, "mpms-trip": mpms_trip}[sys.argv[1]](int(sys.argv[2])))
