mypy-tree:
