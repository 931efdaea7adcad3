"""Pages drawn from a run folder or an inspection; knows no torch."""

from headstart.report.card import model_card, write_model_card
from headstart.report.chip_figures import (
    segmentation_figures,
    visible_picture,
    write_chip_figures,
)
from headstart.report.colours import class_colours
from headstart.report.figures import lr_finder_figure
from headstart.report.inspection import Inspection, write_inspection
from headstart.report.notebook import summary_html
from headstart.report.page import keep_texts, write_report

__all__ = [
    "Inspection",
    "class_colours",
    "keep_texts",
    "lr_finder_figure",
    "model_card",
    "segmentation_figures",
    "summary_html",
    "visible_picture",
    "write_chip_figures",
    "write_inspection",
    "write_model_card",
    "write_report",
]
