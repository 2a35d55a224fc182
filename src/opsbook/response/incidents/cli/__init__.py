"""``opsbook incidents``, ``note`` and ``resolve``."""
