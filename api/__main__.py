"""``python -m relokit``."""

from relokit.cli.main import main

raise SystemExit(main())
