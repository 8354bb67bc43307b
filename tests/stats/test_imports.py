"""What `import invaudit.stats` costs."""

import subprocess
import sys


def test_import_stays_light():
    code = "import sys, invaudit.stats; print(*{'torch', 'scipy.stats', 'sklearn', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
