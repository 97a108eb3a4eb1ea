"""Tables, plots, pages and cards of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.report.documents.comparison_page import write_comparison
    from facedistill.report.documents.model_card import write_card
    from facedistill.report.figures.roc_figures import draw_roc
    from facedistill.report.table import markdown_table

__all__ = [
    "draw_roc",
    "markdown_table",
    "write_card",
    "write_comparison",
]

_MODULES = {
    "draw_roc": "figures.roc_figures",
    "markdown_table": "table",
    "write_comparison": "documents.comparison_page",
    "write_card": "documents.model_card",
}

__getattr__ = lazy_names(__name__, _MODULES)
