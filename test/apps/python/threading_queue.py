# SPDX-License-Identifier: MPL-2.0
"""Python threads: locks, conditions, events, queues, timeouts, thread-local storage; printed the same on every machine."""

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

THREADS = 16


def counter():
    lock, total = threading.Lock(), [0]

    def add():
        for _ in range(500):
            with lock:
                total[0] += 1

    threads = [threading.Thread(target=add) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total[0]


def pipeline():
    numbers, squares = queue.Queue(maxsize=3), queue.Queue()

    def square():
        while (n := numbers.get()) is not None:
            squares.put(n * n)

    threads = [threading.Thread(target=square) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(100):
        numbers.put(n)
    for _ in threads:
        numbers.put(None)
    for thread in threads:
        thread.join()
    return sum(squares.get() for _ in range(100))


def barrier():
    meeting, order, lock = threading.Barrier(THREADS), [], threading.Lock()

    def meet():
        for round_ in range(3):
            with lock:
                order.append(round_)
            meeting.wait()

    threads = [threading.Thread(target=meet) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return order == sorted(order)


def timeouts():
    start = time.monotonic()
    event = threading.Event().wait(0.03)
    try:
        queue.Queue().get(timeout=0.03)
        got = True
    except queue.Empty:
        got = False
    return event, got, time.monotonic() - start < 0.06


def local():
    storage = threading.local()

    def own(n):
        storage.value = n
        time.sleep(0.002)
        return storage.value == n

    with ThreadPoolExecutor(THREADS) as pool:
        return all(pool.map(own, range(THREADS * 2)))


print("counter:", counter())
print("pipeline:", pipeline())
print("barrier in step:", barrier())
print("timeouts (event, item, early):", *timeouts())
print("thread-local kept:", local())
