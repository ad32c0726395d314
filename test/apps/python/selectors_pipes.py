# SPDX-License-Identifier: MPL-2.0
"""Python's selectors over pipes: epoll, poll and select must tell the same story, printed the same on every machine."""

import os
import selectors
import threading
import time


def story(selector_class):
    """Readiness, timeouts, hang-up, modification and a wake from another thread, through one selector class."""
    lines = []
    with selector_class() as selector:
        r, w = os.pipe()
        selector.register(r, selectors.EVENT_READ, "reader")
        lines.append(f"empty: {selector.select(0)}")
        os.write(w, b"hello")
        [(key, events)] = selector.select(5)
        lines.append(f"ready: {key.data} {events} {os.read(r, 100).decode()}")
        start = time.monotonic()
        nothing = selector.select(0.02)
        lines.append(f"timeout: {nothing} early={time.monotonic() - start < 0.02}")
        thread = threading.Timer(0.02, os.write, (w, b"later"))
        thread.start()
        [(key, events)] = selector.select(60)
        lines.append(f"woken: {key.data} {os.read(r, 100).decode()}")
        thread.join()
        selector.register(w, selectors.EVENT_WRITE, "writer")
        lines.append(f"both: {sorted(key.data for key, _ in selector.select(5))}")
        os.write(w, b"x")
        lines.append(f"both: {sorted(key.data for key, _ in selector.select(5))}")
        selector.unregister(w)
        selector.modify(r, selectors.EVENT_READ, "modified")
        lines.append(f"modified: {[key.data for key, _ in selector.select(5)]}")
        os.read(r, 1)
        os.close(w)
        lines.append(f"hang-up: {[key.data for key, _ in selector.select(5)]} {os.read(r, 1)}")
        selector.unregister(r)
        os.close(r)
    return lines


def many(selector_class, pipes=60):
    """Every pipe written once by threads; every one must be reported until all are drained."""
    with selector_class() as selector:
        ends = [os.pipe() for _ in range(pipes)]
        for index, (r, _) in enumerate(ends):
            selector.register(r, selectors.EVENT_READ, index)
        threads = [threading.Thread(target=os.write, args=(w, b"%d" % i)) for i, (_, w) in enumerate(ends)]
        for thread in threads:
            thread.start()
        seen = set()
        while len(seen) < pipes:
            for key, _ in selector.select(60):
                seen.add(int(os.read(key.fd, 10)))
        for thread in threads:
            thread.join()
        for r, w in ends:
            selector.unregister(r)
            os.close(r)
            os.close(w)
        return sum(seen)


def main():
    stories = {}
    for name in ("EpollSelector", "PollSelector", "SelectSelector"):
        selector_class = getattr(selectors, name)
        stories[name] = story(selector_class)
        print(f"{name}: many {many(selector_class)}")
    for line in stories["EpollSelector"]:
        print(line)
    print("the same story:", len({tuple(lines) for lines in stories.values()}) == 1)
    print("default:", selectors.DefaultSelector.__name__)


main()
