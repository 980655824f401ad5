"""What totals say: numbers, tables, JSON, headlines and gates."""
