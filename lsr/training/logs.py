"""What a run says while it goes on and leaves behind: lines, a CSV, TensorBoard, a plot."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lsr.training.trainer import DEV_METRIC

Report = Callable[[str], None]

CSV_FILE = "log.csv"
PLOT_FILE = "log.png"
TENSORBOARD_FOLDER = "tensorboard"

_FIRST = ("step", "epoch", "loss")
# Trainer's last entry, about its own run and not the model.
_TIMES = (
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "train_loss",
    "total_flos",
)


class RunLog(TrainerCallback):
    """Reports every logged step to `report`, and writes all of them to ``log.csv`` and TensorBoard.

    The CSV is written anew from Trainer's history, so that of a resumed run is whole.
    """

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder = folder
        self._report = report
        self._board: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open TensorBoard's log where it is installed."""
        if not state.is_world_process_zero:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._report("TensorBoard is not installed (pip install 'lsr-search[train]'): no log for it.")
            return
        # Steps after the checkpoint that a run goes on from are logged a second time; the first are hidden.
        self._board = SummaryWriter(str(self._folder / TENSORBOARD_FOLDER), purge_step=state.global_step + 1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Report one step."""
        if not state.is_world_process_zero or not logs:
            return
        write_csv(state.log_history, self._folder / CSV_FILE)
        if self._board is not None:
            for name, value in logs.items():
                if name != "epoch":
                    self._board.add_scalar(name, value, state.global_step)
        line = describe(logs)
        if line:
            self._report(f"step {state.global_step:,}/{state.max_steps:,}  {line}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close TensorBoard's log and draw the plot."""
        if not state.is_world_process_zero:
            return
        if self._board is not None:
            self._board.close()
        try:
            plot(state.log_history, self._folder / PLOT_FILE)
        except ImportError:
            self._report("matplotlib is not installed (pip install 'lsr-search[train]'): no plot.")


def describe(logs: dict[str, float]) -> str:
    """Return one line for people, empty for what is of no interest."""
    if DEV_METRIC in logs:
        return f"dev nDCG@10 {logs[DEV_METRIC]:.4f}"
    if "loss" not in logs:
        return ""
    parts = [f"loss {logs['loss']:.4g}"]
    parts += [f"{name[5:]} {value:.3g}" for name, value in logs.items() if name.startswith("loss/")]
    if "document_terms" in logs:
        parts.append(f"terms d {logs['document_terms']:.0f} q {logs['query_terms']:.0f}")
        parts.append(f"FLOPS {logs['flops']:.2f}  best {logs['accuracy']:.0%}")
    parts += [f"λ {name[7:]} {value:.2g}" for name, value in logs.items() if name.startswith("lambda/")]
    return "  ".join(parts)


def write_csv(history: list[dict[str, float]], path: Path) -> None:
    """Write the history, one row a logged step, ``step`` first."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        rows.setdefault(int(entry["step"]), {}).update(entry)
    names = {name for row in rows.values() for name in row} - {*_FIRST, *_TIMES}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*_FIRST, *sorted(names)], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows.values())


def plot(history: list[dict[str, float]], path: Path) -> None:
    """Draw losses, terms, FLOPS, weights of losses and the dev figure over the steps, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in history for name in row))
    panels = {
        "loss": [name for name in names if name == "loss" or name.startswith("loss/")],
        "terms": ["document_terms", "query_terms"],
        "FLOPS": ["flops"],
        "weights of losses": [name for name in names if name.startswith("lambda/")],
        "positive is the best": ["accuracy"],
        "dev nDCG@10": [DEV_METRIC],
    }
    figure = Figure(figsize=(12, 7), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, lines) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(2, 3, place, title=title, xlabel="step")
        for name in lines:
            points = [(row["step"], row[name]) for row in history if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 30 else None)
        if title in ("loss", "terms"):
            axes.set_yscale("symlog", linthresh=0.01)
        if len(axes.lines) > 1:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
