"""The command ``v1consortium``, and ``python -m v1consortium``."""

import sys

OURS = ("riverengine", "riverjobs", "v1consortium")


def main() -> None:
    """Run the command; without the packages of the extra ``app``, say how to install them."""
    try:
        from v1consortium.cli import script
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in OURS:
            raise
        sys.stderr.write(f"Error: {missing} is missing: pip install 'riverjobs[app]'\n")
        raise SystemExit(2) from None
    script()


if __name__ == "__main__":
    main()
