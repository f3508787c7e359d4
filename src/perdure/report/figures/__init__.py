"""Records of runs as figures. Bands and error bars are 95 % intervals of the mean over seeds."""

from perdure.report.figures.bars import metric_bars
from perdure.report.figures.frontier import accuracy_against_cost
from perdure.report.figures.matrix import accuracy_matrices, accuracy_matrix
from perdure.report.figures.memory import retained_against_memory
from perdure.report.figures.over_time import accuracy_over_time, class_accuracy
from perdure.report.figures.saving import save_figures
from perdure.report.figures.stream import accuracy_over_stream
from perdure.report.figures.style import image_of
from perdure.report.figures.trend import alignment_over_stream

__all__ = [
    "accuracy_against_cost",
    "accuracy_matrices",
    "accuracy_matrix",
    "accuracy_over_stream",
    "accuracy_over_time",
    "alignment_over_stream",
    "class_accuracy",
    "image_of",
    "metric_bars",
    "retained_against_memory",
    "save_figures",
]
