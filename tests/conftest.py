"""One thread for each process: test processes side by side would wait for each other's threads."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def killed_after(monkeypatch):
    """Interrupt a module after its n-th file, once; gives the list of all files that it writes."""

    def kill(module, n):
        write, written = module.write_bytes, []

        def killing(path, data):
            write(path, data)
            written.append(path)
            if len(written) == n:
                raise KeyboardInterrupt

        monkeypatch.setattr(module, "write_bytes", killing)
        return written

    return kill
