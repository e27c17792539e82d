"""Tarrés' transformer is M2M-100 with a norm behind the decoder's embeddings, and then dropout."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kinesweep.core.batch import Batch
from kinesweep.models import Translator
from kinesweep.models.backbones.tarres_m2m100 import NormedDecoderLayer

Make = Callable[..., Translator]
NORM = "backbone.model.decoder.layers.0.layernorm_embedding"


@torch.no_grad()
def test_it_is_m2m_100_with_one_norm_more(translator: Make, batch: Batch) -> None:
    model, plain = translator("tarres").eval(), translator("m2m_100").eval()
    weights = model.state_dict()
    norm = nn.LayerNorm(16)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    weights |= {f"{NORM}.{name}": tensor for name, tensor in norm.state_dict().items()}
    model.load_state_dict(weights)
    own = {name: tensor for name, tensor in weights.items() if not name.startswith(NORM)}
    plain.load_state_dict(own)
    wrong = plain(**batch.get_forward_kwargs()).logits
    first = plain.backbone.model.decoder.layers[0]
    first.register_forward_pre_hook(lambda _, args: (norm(args[0]), *args[1:]))
    found = model(**batch.get_forward_kwargs()).logits
    assert torch.equal(found, plain(**batch.get_forward_kwargs()).logits)
    assert not torch.allclose(found, wrong)


def test_it_drops_behind_the_norm(translator: Make, batch: Batch) -> None:
    model = translator("tarres", dropout=0.5, attention_dropout=0.0).train()
    layer = model.backbone.model.decoder.layers[0]
    assert isinstance(layer, NormedDecoderLayer)
    seen: dict[str, Tensor] = {}
    layer.layernorm_embedding.register_forward_pre_hook(lambda _, args: seen.update(before=args[0]))
    layer.self_attn_layer_norm.register_forward_pre_hook(lambda _, args: seen.update(after=args[0]))
    model(**batch.get_forward_kwargs())
    real_BL = seen["before"].abs().sum(dim=2) > 0  # padding is all zeros
    assert float((seen["before"][real_BL] == 0).float().mean()) == 0
    assert 0.4 < float((seen["after"][real_BL] == 0).float().mean()) < 0.6


@pytest.mark.parametrize("num_beams", [1, 3])
def test_it_is_saved_and_writes_as_before(
    translator: Make, batch: Batch, tmp_path: Path, num_beams: int
) -> None:
    model = translator("tarres").eval()
    nn.init.normal_(model.get_parameter(f"{NORM}.weight"))
    model.save_pretrained(tmp_path)
    again = Translator.from_pretrained(tmp_path).eval()
    ids = [
        m.generate(**batch.get_generate_kwargs(), num_beams=num_beams, max_new_tokens=9)
        for m in (model, again)
    ]
    assert torch.equal(*ids)
    assert again.state_dict().keys() == model.state_dict().keys()
