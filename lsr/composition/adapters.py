"""Low-rank adapters through peft: put into a backbone, and folded into its weights for saving."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lsr.composition.settings import LoraSettings
from lsr.errors import UserError

_ADAPTER = "default"


def add_adapters(model: nn.Module, settings: LoraSettings) -> None:
    """Put LoRA adapters (arXiv 2106.09685) on the targeted layers of `model`, and train only them.

    An adapter adds alpha/rank times B A x to a layer's output; B starts at 0, so that nothing
    changes before the first step.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError("lora needs peft, which is not installed; pip install 'lsr-search[train]'.") from None
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
    )
    try:
        inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    except ValueError:
        raise UserError(
            f"lora: the backbone has none of the layers {', '.join(settings.targets)}; "
            "name its linear layers in lora.targets."
        ) from None
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def folded_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state of `module` with every adapter folded into the layer that it adapts.

    Names and shapes are those of the same module without adapters; the module stays as it is.
    """
    adapted = {name: layer for name, layer in module.named_modules() if _is_adapted(layer)}
    state: dict[str, torch.Tensor] = {}
    for name, tensor in module.state_dict().items():
        owner = next((prefix for prefix in adapted if name.startswith(f"{prefix}.")), None)
        if owner is None:
            state[name] = tensor
        elif name.startswith(f"{owner}.base_layer."):
            kept = name.removeprefix(f"{owner}.base_layer.")
            if kept == "weight":
                layer: Any = adapted[owner]
                with torch.no_grad():
                    tensor = tensor + layer.get_delta_weight(_ADAPTER).to(tensor.dtype)
            state[f"{owner}.{kept}"] = tensor
    return state


def _is_adapted(layer: nn.Module) -> bool:
    return hasattr(layer, "base_layer") and hasattr(layer, "get_delta_weight")
