"""Run a command and write what it cost: ``measured_run.py COST.json COMMAND ARGUMENT...``.

Imports next to nothing, so that its own memory does not count: on Linux a child's peak starts at its parent's size.
"""

import json
import os
import subprocess
import sys
import time


def main() -> int:
    cost_file, *command = sys.argv[1:]
    start = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    cost = {
        "wall_s": round(time.perf_counter() - start, 3),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_bytes": usage.ru_maxrss * unit,
    }
    with open(cost_file, "w") as file:  # noqa: PTH123 - pathlib would be most of this process
        json.dump(cost, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
