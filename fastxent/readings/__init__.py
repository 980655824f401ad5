"""The statistics that totals say, by subject; `fastxent.evaluation.Evaluation` puts them together."""
