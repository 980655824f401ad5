"""The bytes of Parquet files, read by compiled code that trusts none of them.

Every function takes arrays and places in them, never an address, looks at no byte at or beyond ``end``, and passes at
least one byte a step, so it ends. What cannot be is told by a negative place. The Python originals (``.py_func``) do
the same.
"""
