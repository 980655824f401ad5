"""How predictions are stored: layouts, the writer, conversion, and what a data set holds."""
