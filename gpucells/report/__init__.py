"""What a run looks like: one picture, and one page to look through the cells."""

from gpucells.report.draw import draw_report

__all__ = ["draw_report"]
