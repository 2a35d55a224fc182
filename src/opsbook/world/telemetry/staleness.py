"""The markers of stale and absent samples, as the query language defines them."""

from opsbook.promql.series import ABSENT, STALE, Flags, Floats, Integers, is_sample, is_stale

__all__ = ["ABSENT", "STALE", "Flags", "Floats", "Integers", "is_sample", "is_stale"]
