"""`BackboneContract`: what every backbone must do.

Shapes: B clips, N input vectors, E width, L target tokens, V vocabulary.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kinesweep.config.recipe.model.backbone import is_causal
from kinesweep.core.batch import IGNORE
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.generation import DecodingSettings
from kinesweep.testing.parts import PartContract
from kinesweep.testing.tolerances import assert_same, compute_in_float64


class BackboneContract(PartContract):
    """Checks of a backbone.

    Attributes:
        config: Section `model.backbone`, of a model that is small and whose random weights are so
            large that it writes different texts for different inputs.
        vocabulary: Vocabulary of the test's texts.
    """

    vocabulary: ClassVar[Vocabulary] = Vocabulary(size=40, pad_id=0, bos_id=1, eos_id=2)

    @pytest.fixture(autouse=True)
    def _float64(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Compute in float64, so that bounds hold on every processor."""
        yield from compute_in_float64(monkeypatch)

    @pytest.fixture
    def section(self) -> Any:
        """Return the configuration under test; a suite of many may override it."""
        return self.config

    @pytest.fixture
    def model(self, section: Any) -> PreTrainedModel:
        """Return the language model with weights from a fixed seed."""
        torch.manual_seed(3)
        return get_backbone_ops(section).create_model(section, self.vocabulary, True).eval()

    def make_vectors(self, model: PreTrainedModel) -> tuple[Tensor, Tensor]:
        """Make input vectors of four clips and their mask."""
        torch.manual_seed(1)
        width = model.get_input_embeddings().embedding_dim
        mask_BN = torch.arange(9) < torch.tensor([9, 4, 7, 2])[:, None]
        return torch.randn(4, 9, width), mask_BN

    def make_labels(self) -> Tensor:
        """Make labels of four clips, one of them shorter."""
        torch.manual_seed(2)
        labels_BL = torch.randint(3, self.vocabulary.size, (4, 6))
        labels_BL[1, 3:] = IGNORE
        return labels_BL

    def generate(self, section: Any, model: PreTrainedModel, *x: Tensor, beams: int = 1) -> Tensor:
        """Generate texts with plain settings."""
        settings = DecodingSettings(
            num_beams=beams,
            max_new_tokens=12,
            length_penalty=1.0,
            num_tokens=self.vocabulary.size,
        )
        return get_backbone_ops(section).generate(model, x[0], x[1], settings)

    def test_special_tokens_are_the_tokenizers(self, model: PreTrainedModel) -> None:
        """Check that the model's configuration has the ids of the vocabulary."""
        config, words = model.config, self.vocabulary
        found = (config.pad_token_id, config.bos_token_id, config.eos_token_id)
        assert found == (words.pad_id, words.bos_id, words.eos_id)
        assert config.vocab_size == words.size

    def test_embedded_tokens_are_those_the_model_would_use(
        self, section: Any, model: PreTrainedModel
    ) -> None:
        """Check that a prompt given as vectors is read like one given as ids."""
        ids_BP = torch.randint(3, self.vocabulary.size, (2, 5))
        reader: Any = model.get_decoder() if is_causal(section) else model.get_encoder()
        by_ids = reader(input_ids=ids_BP).last_hidden_state
        vectors_BPE = get_backbone_ops(section).embed_tokens(model, ids_BP)
        by_vectors = reader(inputs_embeds=vectors_BPE).last_hidden_state
        assert_same(by_vectors, by_ids, 0.0 if is_causal(section) else 1e-9)

    @torch.no_grad()
    def test_logits_see_earlier_labels_only(self, section: Any, model: PreTrainedModel) -> None:
        """Check that position l predicts label l from the labels before it."""
        ops = get_backbone_ops(section)
        before_BLV = ops.compute_logits(model, *self.make_vectors(model), self.make_labels())
        changed_BL = self.make_labels()
        changed_BL[:, 2] = torch.where(changed_BL[:, 2] == 5, 6, 5)
        after_BLV = ops.compute_logits(model, *self.make_vectors(model), changed_BL)
        moved_BL = (before_BLV - after_BLV).abs().amax(dim=2)
        # Exactly 0: masked labels must not even change the rounding.
        assert (moved_BL[:, :3] == 0).all()
        assert (moved_BL[:, 3] > 1e-4).all()

    @torch.no_grad()
    def test_logits_do_not_depend_on_the_batch(self, section: Any, model: PreTrainedModel) -> None:
        """Check that a clip in a batch gets the logits that it gets alone."""
        ops, (x_BNE, mask_BN) = get_backbone_ops(section), self.make_vectors(model)
        together_BLV = ops.compute_logits(model, x_BNE, mask_BN, self.make_labels())
        for row, length in enumerate(mask_BN.sum(dim=1).tolist()):
            num_labels = int((self.make_labels()[row] != IGNORE).sum())
            clip = slice(row, row + 1)
            alone_LV = ops.compute_logits(
                model,
                x_BNE[clip, :length],
                mask_BN[clip, :length],
                self.make_labels()[clip, :num_labels],
            )[0]
            assert_same(together_BLV[row, :num_labels], alone_LV)

    @pytest.mark.parametrize("num_beams", [1, 4])
    def test_texts_do_not_depend_on_the_batch(
        self, section: Any, model: PreTrainedModel, num_beams: int
    ) -> None:
        """Check that a clip in a batch gets the text that it gets alone."""
        x_BNE, mask_BN = self.make_vectors(model)
        together_BL = self.generate(section, model, x_BNE, mask_BN, beams=num_beams)
        pad_id = self.vocabulary.pad_id
        texts = [row[row != pad_id].tolist() for row in together_BL]
        for row, length in enumerate(mask_BN.sum(dim=1).tolist()):
            x_1NE, mask_1N = x_BNE[row : row + 1, :length], mask_BN[row : row + 1, :length]
            alone_BL = self.generate(section, model, x_1NE, mask_1N, beams=num_beams)
            assert alone_BL[0][alone_BL[0] != pad_id].tolist() == texts[row]
        assert len({tuple(text) for text in texts}) > 1, "a test on equal texts shows nothing"

    @torch.no_grad()
    def test_greedy_decoding_follows_the_logits(self, section: Any, model: PreTrainedModel) -> None:
        """Check that generation and training share one path: each token is the best one."""
        x_BNE, mask_BN = self.make_vectors(model)
        written_BL = self.generate(section, model, x_BNE, mask_BN)
        logits_BLV = get_backbone_ops(section).compute_logits(model, x_BNE, mask_BN, written_BL)
        is_end_BL = written_BL == self.vocabulary.eos_id
        is_text_BL = is_end_BL.cumsum(dim=1) - is_end_BL.long() == 0
        assert torch.equal(logits_BLV.argmax(dim=2)[is_text_BL], written_BL[is_text_BL])

    def test_a_saved_configuration_rebuilds_it(self, section: Any, model: PreTrainedModel) -> None:
        """Check that the saved configuration and the weights give the same logits."""
        ops = get_backbone_ops(section)
        again = ops.create_from_saved_config(model.config.to_dict()).eval()
        again.load_state_dict(model.state_dict())
        vectors, labels_BL = self.make_vectors(model), self.make_labels()
        with torch.no_grad():
            logits = [ops.compute_logits(each, *vectors, labels_BL) for each in (model, again)]
        assert torch.equal(*logits)
