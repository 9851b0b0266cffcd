"""What people see of a result: one self-contained HTML page, and the same table in the terminal."""

from expunge.report.page import render, write_page
from expunge.report.table import Cell, Column, Row, columns, print_table, rows

__all__ = ["Cell", "Column", "Row", "columns", "print_table", "render", "rows", "write_page"]
