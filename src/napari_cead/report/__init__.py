"""The results of an evaluation: their one table of columns, and HTML, Markdown and CSV made of it."""
