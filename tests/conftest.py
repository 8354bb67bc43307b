"""One thread for each process: test processes side by side would wait for each other's threads."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
