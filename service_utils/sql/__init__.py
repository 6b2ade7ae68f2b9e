"""SQL with parameters by name, in the same way for every database.

::

    plan("select * from ::table where id in :ids and day = :day::date", "postgresql").bind(
        {"table": "orders", "ids": [1, 2], "day": "2026-01-01"}
    )
"""

from service_utils.sql.errors import SQLError
from service_utils.sql.macros import Macros
from service_utils.sql.plans import Plan, plan, quote_identifier

__all__ = ["Macros", "Plan", "SQLError", "plan", "quote_identifier"]
