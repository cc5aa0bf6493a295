"""One measured command."""
import os
import subprocess
import sys
import time


def run(args, **options):
    """Runs a command to its end: wall seconds and peak memory in MiB of its largest process."""
    start = time.perf_counter()
    options.setdefault("stdout", subprocess.DEVNULL)
    child = subprocess.Popen(args, stderr=subprocess.PIPE, **options)
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{args} failed:\n{errors.decode(errors='replace')[-3000:]}")
    return wall, usage.ru_maxrss / 1024
