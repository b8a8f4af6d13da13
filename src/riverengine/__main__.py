"""``python -m riverengine``."""

from riverengine.cli import script

if __name__ == "__main__":
    script()
