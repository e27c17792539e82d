"""Why a key of MultimodalHugs has no place in a recipe."""

_FROM_CORPUS = "which follows from the corpus or the tokenizer"
_DECIDED = "which needs no setting here"
_REASONS = {
    **dict.fromkeys(("type", "model_type"), "the only kind that can be converted"),
    **dict.fromkeys(("feat_dim", "d_model", "backbone_used_vocab_size"), _FROM_CORPUS),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), _FROM_CORPUS),
    "decoder_start_token_id": _FROM_CORPUS,
    "init_lang_abbr": "new tokens are drawn around the mean of the old ones",
    "max_seq_length": "texts are never cut; `generation.max_new_tokens` bounds what is written",
    "shuffle": "training data always is",
    "column_map": "columns have their known names; rename them in the table",
    "per_device_eval_batch_size": "`evaluation.max_frames` is a budget of frames",
    **dict.fromkeys(
        (
            *("data_augmentation_types", "data_augmentation_kwargs", "augmentation_splits"),
            *("augmentation_probabilities", "max_frames_after_augmentation"),
        ),
        "`batch.augmentation` varies clips in its own way",
    ),
    "deepspeed": "DeepSpeed is not supported; `training.fsdp` cuts a model over workers",
    "save_total_limit": "`checkpoints.keep` says which stay",
    "save_steps": "a checkpoint follows each evaluation (`training.eval_steps`)",
    "num_train_epochs": "`training.max_steps` counts steps",
    "dataloader_drop_last": "no clip is left out of an epoch",
    "greater_is_better": "it is known of each metric",
    **dict.fromkeys(
        (
            *("do_train", "do_eval", "do_predict", "predict_with_generate", "save_strategy"),
            *("eval_strategy", "evaluation_strategy", "logging_strategy", "report_to"),
            *("load_best_model_at_end", "output_dir", "overwrite_output_dir", "logging_dir"),
            *("remove_unused_columns", "dataloader_prefetch_factor", "wandb_name"),
            *("wandb_project", "do_dataset", "do_processor", "do_model", "update_config"),
            *("dataset_dir", "model_name_or_path", "processor_name_or_path"),
        ),
        _DECIDED,
    ),
}
"""Last part of a key → reason."""


def reason(key: str) -> str:
    """Why a dotted key was not carried over."""
    return _REASONS.get(key.rpartition(".")[2], "which is not known here")
