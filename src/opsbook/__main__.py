"""``python -m opsbook``."""

from opsbook.cli.main import main

if __name__ == "__main__":
    main()
