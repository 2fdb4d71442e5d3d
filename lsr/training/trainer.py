"""The training loop: transformers' Trainer, told what a batch, a loss and a checkpoint are here.

From Trainer come the loop, accumulation, mixed precision, clipping, learning-rate schedules,
checkpoints with the state of optimizer and random numbers, early stopping and TensorBoard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from lsr.errors import UserError
from lsr.training.collation import BatchDataset, TextBatch
from lsr.training.settings import TrainingSettings
from lsr.training.sharing import average_gradients
from lsr.training.step import BatchStep

WEIGHTS_FILE = "model.safetensors"
LOSSES_FILE = "losses.pt"
DEV_METRIC = "eval_ndcg@10"


class SparseTrainer(Trainer):
    """Trains the encoder of a `BatchStep`.

    Every process reads the whole batches and encodes its share of them; see `BatchStep`. With
    `evaluate_dev`, which returns the dev collection's nDCG@10, the best checkpoint is loaded at the end.
    """

    def __init__(
        self,
        step: BatchStep,
        batches: BatchDataset,
        settings: TrainingSettings,
        arguments: TrainingArguments,
        *,
        evaluate_dev: Callable[[], float] | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self._step = step
        self._settings = settings
        self._evaluate_dev = evaluate_dev
        self._sums: dict[str, float] = {}
        self._count = 0
        super().__init__(
            model=step.module,
            args=arguments,
            train_dataset=batches,
            # Trainer wants something where it is to evaluate; the dev collection is behind evaluate_dev.
            eval_dataset=batches if evaluate_dev else None,
            callbacks=list(callbacks),
            optimizers=(make_optimizer(step.module, settings), None),
        )
        step.precision = self.accelerator.autocast

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return whole batches in the plan's order; Trainer skips those that a resumed run has seen."""
        assert isinstance(self.train_dataset, BatchDataset)
        return DataLoader(
            self.train_dataset,
            batch_size=1,
            shuffle=False,
            collate_fn=_only,
            num_workers=self._settings.loader_workers,
        )

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: Any = None) -> nn.Module:
        # Not DistributedDataParallel: see average_gradients.
        return self._step

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Run one batch; with the last of a step, average the gradients over processes."""
        self._step.train()
        scale = 1 / self._settings.accumulation
        result = self._step.run(inputs["batch"], self.state.global_step, self.accelerator.backward, scale)
        if not bool(torch.isfinite(result.loss)):
            raise UserError(
                f"the loss is {float(result.loss)} at step {self.state.global_step + 1}; lower "
                "training.learning_rate or the sparsity weights, or train without bf16."
            )
        if self.accelerator.sync_gradients:
            average_gradients(self._step.module)
        self._count += 1
        for name, value in result.figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        return result.loss.detach() * scale

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the means, since the last time, of the figures of the batches."""
        if "loss" in logs and self._count:
            logs = {**logs, **{name: value / self._count for name, value in self._sums.items()}}
            self._sums, self._count = {}, 0
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measure the dev collection on the first process, and tell the others."""
        assert self._evaluate_dev is not None
        figure = torch.zeros(1, device=self.args.device)
        if self.is_world_process_zero():
            with PreservedRandomState():
                self._step.eval()
                figure += self._evaluate_dev()
                self._step.train()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast(figure, 0)
        metrics = {DEV_METRIC: float(figure)}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # A state_dict in safetensors cannot hold tied weights; save_model can.
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self._step.module, str(folder / WEIGHTS_FILE))
        torch.save(self._step.sparsity.state_dict(), folder / LOSSES_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_model(self._step.module, str(Path(resume_from_checkpoint, WEIGHTS_FILE)))
        state = torch.load(Path(resume_from_checkpoint, LOSSES_FILE), weights_only=True, map_location="cpu")
        self._step.sparsity.load_state_dict(state)

    def _load_best_model(self) -> None:
        if self.state.best_model_checkpoint is not None:
            load_model(self._step.module, str(Path(self.state.best_model_checkpoint, WEIGHTS_FILE)))


def make_optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return AdamW; biases, norms and other vectors do not decay, `learning_rates` go by name."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    unused = set(settings.learning_rates)
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        matching = [key for key in settings.learning_rates if key in name]
        unused -= set(matching)
        rate = settings.learning_rates[max(matching, key=len)] if matching else settings.learning_rate
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    if unused:
        raise UserError(
            f"training.learning_rates: no parameter that is trained has {sorted(unused)[0]!r} in its name."
        )
    if not groups:
        raise UserError("the model has no parameter to train: all of it is frozen.")
    return torch.optim.AdamW(
        [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()],
        lr=settings.learning_rate,
    )


def make_arguments(settings: TrainingSettings, steps: int, folder: Path) -> TrainingArguments:
    """Return Trainer's arguments for a run of `steps` steps whose checkpoints go to `folder`."""
    every = settings.checkpoint_every
    warmup = settings.warmup if settings.warmup >= 1 else settings.warmup * steps
    schedule = "constant_with_warmup" if settings.decay == "constant" else settings.decay
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=schedule,
        warmup_steps=round(warmup),
        max_grad_norm=settings.max_gradient_norm,
        bf16=settings.bf16,
        seed=settings.seed,
        use_cpu=settings.device == "cpu",
        logging_steps=settings.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="steps" if every else "no",
        save_steps=every or 1,
        save_total_limit=settings.keep_checkpoints,
        eval_strategy="steps" if settings.dev else "no",
        eval_steps=every or 1,
        load_best_model_at_end=bool(settings.dev),
        metric_for_best_model=DEV_METRIC if settings.dev else None,
        greater_is_better=True if settings.dev else None,
        restore_callback_states_from_checkpoint=True,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
    )


class PreservedRandomState:
    """Gives back the random numbers' state afterwards: what happens inside does not change training."""

    def __enter__(self) -> None:
        import random

        import numpy as np

        self._python, self._numpy, self._torch = (
            random.getstate(),
            np.random.get_state(),
            torch.get_rng_state(),
        )
        self._devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def __exit__(self, *error: object) -> None:
        import random

        import numpy as np

        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._devices:
            torch.cuda.set_rng_state_all(self._devices)


def _only(items: list[TextBatch]) -> dict[str, TextBatch]:
    return {"batch": items[0]}
