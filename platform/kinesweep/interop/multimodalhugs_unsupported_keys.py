"""Reasons why keys of MultimodalHugs' settings have no equivalent in a recipe."""

# Each reason continues the line `KEY: VALUE, REASON` that `kinesweep convert` prints.
_DERIVED_FROM_CORPUS = "which follows from the corpus or the tokenizer"
_NO_SETTING_NEEDED = "which needs no setting in a recipe"
_REASONS = {
    **dict.fromkeys(("type", "model_type"), "the only type that can be converted"),
    **dict.fromkeys(("feat_dim", "d_model", "backbone_used_vocab_size"), _DERIVED_FROM_CORPUS),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), _DERIVED_FROM_CORPUS),
    "decoder_start_token_id": _DERIVED_FROM_CORPUS,
    "init_lang_abbr": "new token embeddings are sampled around the mean of the existing ones",
    "max_seq_length": "texts are never truncated; `generation.max_new_tokens` limits the output",
    "shuffle": "training data is always shuffled",
    "column_map": "columns must have the standard names; rename them in the table",
    "per_device_eval_batch_size": "`evaluation.max_frames` is a budget of frames instead",
    **dict.fromkeys(
        (
            *("data_augmentation_types", "data_augmentation_kwargs", "augmentation_splits"),
            *("augmentation_probabilities", "max_frames_after_augmentation"),
        ),
        "`batch.augmentation` has other augmentations",
    ),
    "deepspeed": "DeepSpeed is not supported; `training.fsdp` shards a model over workers",
    "save_total_limit": "`checkpoints.keep` selects the checkpoints to keep",
    "save_steps": "a checkpoint follows each evaluation (`training.eval_steps`)",
    "num_train_epochs": "`training.max_steps` counts steps",
    "dataloader_drop_last": "an epoch always includes every clip",
    "greater_is_better": "it is known for each metric",
    **dict.fromkeys(
        (
            *("do_train", "do_eval", "do_predict", "predict_with_generate", "save_strategy"),
            *("eval_strategy", "evaluation_strategy", "logging_strategy", "report_to"),
            *("load_best_model_at_end", "output_dir", "overwrite_output_dir", "logging_dir"),
            *("remove_unused_columns", "dataloader_prefetch_factor", "wandb_name"),
            *("wandb_project", "do_dataset", "do_processor", "do_model", "update_config"),
            *("dataset_dir", "model_name_or_path", "processor_name_or_path"),
        ),
        _NO_SETTING_NEEDED,
    ),
}
"""Last component of a dotted key → reason."""


def explain_unsupported_key(key: str) -> str:
    """Return the reason why a key of MultimodalHugs is not converted.

    Args:
        key: Dotted key of the setting.

    Returns:
        Text that continues the line `KEY: VALUE, REASON`; for an unknown key, that it is unknown.
    """
    return _REASONS.get(key.rpartition(".")[2], "which is an unknown key")
