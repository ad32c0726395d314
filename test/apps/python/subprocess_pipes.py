# SPDX-License-Identifier: MPL-2.0
"""Python's subprocess and signals: pipes, exit statuses, timeouts, a shell pipeline; printed the same on every machine."""

import os
import signal
import subprocess
import sys


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)


done = python("print(input().upper())", input="through two pipes\n")
print("echo:", done.returncode, done.stdout.strip())

done = python("import sys; sys.stderr.write('to stderr'); sys.exit(3)")
print("status:", done.returncode, done.stderr)

done = python("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
print("signal:", done.returncode)

large = "x" * 300_000
done = python("import sys; sys.stdout.write(sys.stdin.read()[::-1])", input=large)
print("large:", done.stdout == large)

try:
    python("import time; time.sleep(60)", timeout=0.3)
except subprocess.TimeoutExpired:
    print("timeout: expired")

done = subprocess.run("printf 'b\\na\\nc\\n' | sort | tr '\\n' ' '; exit 5", shell=True, capture_output=True, text=True)
print("shell:", done.returncode, done.stdout)

done = python("import os; print(os.environ['GREETING'], os.getcwd())", env={**os.environ, "GREETING": "hello"}, cwd="/")
print("environment:", done.stdout.strip())

try:
    subprocess.run(["/no/such/program"])
except FileNotFoundError as error:
    print("missing:", error.errno)

child = os.fork()
if child == 0:
    os._exit(7)
print("fork:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

seen = []
signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
signal.setitimer(signal.ITIMER_REAL, 0.02)
r, w = os.pipe()
poll = __import__("select").poll()
poll.register(r)
print("alarm:", poll.poll(100), seen == [signal.SIGALRM])
