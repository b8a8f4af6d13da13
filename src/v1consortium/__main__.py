"""``python -m v1consortium``."""

from v1consortium.cli import script

if __name__ == "__main__":
    script()
