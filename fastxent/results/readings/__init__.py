"""The statistics that totals say, by subject."""
