#!/usr/bin/python3
"""Cases in Python: `factory_python.py CASE`. As of the factory in C: ready on descriptor 3, else on standard output."""
import multiprocessing
import os
import queue
import sys
import threading
import time


def ready():
    try:
        os.write(3, b"ready\n")
        os.close(3)
    except OSError:
        os.write(1, b"ready\n")


def lock_cycle():
    """Two threads, each with the lock that the other one wants; the main thread joins one of them."""
    locks, both = [threading.Lock(), threading.Lock()], threading.Barrier(2)

    def take(i):
        with locks[i]:
            both.wait()
            with locks[1 - i]:
                pass

    threads = [threading.Thread(target=take, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    ready()
    threads[0].join()


def shared_lock():
    """A lock between processes, taken twice."""
    lock = multiprocessing.get_context("fork").Lock()
    lock.acquire()
    ready()
    lock.acquire()


def slow_lock():
    """Somebody else gives it back after a while, again and again."""
    lock = threading.Lock()

    def give():
        while True:
            time.sleep(0.03)
            if lock.locked():
                lock.release()

    threading.Thread(target=give, daemon=True).start()
    ready()
    while True:
        lock.acquire()


def idle_pool():
    """Workers that wait for work, and a main thread that sleeps."""
    work = queue.Queue()
    for _ in range(3):
        threading.Thread(target=work.get, daemon=True).start()
    ready()
    while True:
        time.sleep(0.05)


CASES = {"python-lock-cycle": lock_cycle, "python-shared-lock": shared_lock, "python-slow-lock": slow_lock,
         "python-idle-pool": idle_pool}
CASES[sys.argv[1]]()
