"""How right methods were over the last rows of a stream, as it went on."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from perdure.records.stream import StreamRecord
from perdure.report.figures.style import GREY, WIDTH, colour_of, literal, tidy


@literal
def prequential_curves(record: StreamRecord) -> Figure:
    """Show each method's accuracy, or mean absolute error, over the last rows, and where its errors changed."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for place, it in enumerate(record.results):
        colour, values = colour_of(place), it.values if record.regression else 100 * it.values
        axes.plot(it.rows, values, color=colour, linewidth=1.5, label=it.method)
        height = 0.03 + 0.05 * place  # one line of marks for each method, so that none covers another's
        for row in it.drifts:
            axes.plot([row], [height], marker="^", color=colour, markersize=5, transform=axes.get_xaxis_transform())
    if any(it.drifts for it in record.results):
        axes.plot([], [], linestyle="none", marker="^", color=GREY, label="errors changed")
    window = record.config["window"]
    what = "Mean absolute error" if record.regression else "Accuracy"
    axes.set_title(f"{what} over the last {window:,} rows: {record.config['name']}", loc="left", size=11)
    axes.set_xlabel("Rows, each answered before it was learned")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if not record.regression:
        axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.margins(x=0.01)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    tidy(axes, grid="y")
    return figure
