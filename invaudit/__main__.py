"""``python -m invaudit``."""

from invaudit.cli import main

if __name__ == "__main__":
    main()
