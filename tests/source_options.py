"""Names of the options of other systems, written down from their sources.

Dataclasses, arguments of command lines and keys of settings files, for each group of a table. A
name that is missing in the table fails `test_option_tables.py`.
"""

SOURCE_OPTIONS = {
    ("ssvp_slt", "feature extraction: `FeatureExtractionConfig`"): """
        data_dir pretrained_model_path model_name output_dir from_clip split fp16 do_aug epochs
        num_frames sampling_rate target_fps num_items_per_shard max_batch_size video_backend
        launcher""",
    ("ssvp_slt", "feature extraction: `LauncherConfig`"): "cluster partition max_jobarray_jobs",
    ("ssvp_slt", "pretraining and feature extraction"): """
        mode data_dir video_backend sampling_rate num_frames target_fps min_duration max_duration
        rand_aug repeat_aug train_random_crop train_crop_size train_random_horizontal_flip
        do_normalize mean std return_labels feature_extraction feature_extraction_stride gpu
        max_num_samples indices""",
    ("ssvp_slt", "pretraining: `common`"): """
        output_dir log_dir resume load_model seed device fp16 pin_mem num_workers
        persistent_workers max_checkpoints print_steps logging_steps save_steps""",
    ("ssvp_slt", "pretraining: `model` (masked"): """
        name mask_ratio norm_pix_loss decoder_depth decoder_num_heads drop_path_rate""",
    ("ssvp_slt", "pretraining: `model` (with texts"): """
        vision_model_name decoder_depth decoder_num_heads drop_path_rate mask_ratio norm_pix_loss
        vision_model_proj text_model_name_or_path text_model_proj text_model_pooler embed_dim
        gradnorm_alpha no_mae""",
    ("ssvp_slt", "pretraining: `data`"): """
        base_data_dir dataset_names num_frames sampling_rate target_fps video_backend rand_aug
        repeat_aug num_train_samples min_duration max_duration""",
    ("ssvp_slt", "pretraining: `optim`"): """
        lr min_lr weight_decay start_epoch epochs warmup_epochs batch_size
        gradient_accumulation_steps clip_grad adam_beta1 adam_beta2 epoch_offset bias_wd
        lr_gradnorm min_lr_gradnorm warmup_epochs_gradnorm""",
    ("ssvp_slt", "translation: `common`"): """
        output_dir log_dir resume load_model seed device fp16 eval dist_eval pin_mem num_workers
        eval_print_samples max_checkpoints eval_steps eval_best_model_after_training
        overwrite_output_dir compute_bleurt""",
    ("ssvp_slt", "translation: `model`"): """
        name_or_path feature_dim from_scratch dropout num_beams lower_case min_source_positions
        max_source_positions max_target_positions feats_type activation_fn encoder_normalize_before
        encoder_embed_dim encoder_ffn_embed_dim encoder_attention_heads encoder_layerdrop
        encoder_layers decoder_normalize_before decoder_embed_dim decoder_ffn_embed_dim
        decoder_attention_heads decoder_layerdrop decoder_layers decoder_output_dim
        classifier_dropout attention_dropout activation_dropout layernorm_embedding
        no_scale_embedding share_decoder_input_output_embed num_hidden_layers""",
    ("ssvp_slt", "translation: `data`"): """
        train_data_dirs val_data_dir num_epochs_extracted min_source_positions
        max_source_positions max_target_positions""",
    ("ssvp_slt", "translation: `criterion`, `optim`"): """
        label_smoothing clip_grad lr min_lr weight_decay start_epoch epochs warmup_epochs
        train_batch_size val_batch_size gradient_accumulation_steps early_stopping patience
        epoch_offset""",
    ("ssvp_slt", "translation: arguments of `SignFeaturesDataset`"): """
        mode path_to_data_dir min_seq_length max_seq_length num_retries indices""",
    ("ssvp_slt", "all programs: `wandb`"): "enabled project entity name run_id log_code",
    ("ssvp_slt", "all programs: `dist`"): """
        world_size port local_rank enabled rank dist_url gpu dist_backend""",
    ("ssvp_slt", "all programs: top level"): "sweep.dir sweep.subdir debug fairseq cmd",
    ("ssvp_slt", "examples of inference and SONAR: `PreprocessingConfig`"): """
        up_exp down_exp left_exp right_exp iou_threshold num_ratio_threshold hog_detector
        detector_path detection_sampling_rate detection_downsample num_frames
        feature_extraction_stride sampling_rate target_fps target_size mean std debug verbose""",
    ("ssvp_slt", "examples of inference and SONAR: `FeatureExtractionConfig`"): """
        pretrained_model_path model_name max_batch_size fp16 verbose""",
    ("ssvp_slt", "examples of inference and SONAR: `TranslationConfig`"): """
        pretrained_model_path tokenizer_path base_model_name feature_dim decoder_path
        decoder_spm_path tgt_langs num_translations do_sample num_beams temperature max_length
        verbose""",
    ("ssvp_slt", "examples of inference and SONAR: `RunConfig`"): "video_path use_sonar verbose",
    ("signllava", "`ModelArguments`"): """
        model_name_or_path version freeze_backbone tune_mm_mlp_adapter freeze_embed_tokens
        pretrain_mm_mlp_adapter""",
    ("signllava", "`TrainingArguments`"): """
        cache_dir output_dir bf16 report_to evaluation_strategy metric_for_best_model optim
        remove_unused_columns freeze_mm_mlp_adapter mpt_attn_impl resume_from_checkpoint run_name
        label_smoothing_factor model_max_length double_quant quant_type bits lora_enable lora_r
        lora_alpha lora_dropout lora_weight_path lora_bias mm_projector_lr
        group_by_modality_length encoder_params per_device_train_batch_size
        per_device_eval_batch_size auto_find_batch_size do_train do_eval save_strategy eval_steps
        save_steps logging_steps load_best_model_at_end save_total_limit weight_decay warmup_ratio
        dataloader_num_workers num_train_epochs learning_rate lr_scheduler_type
        gradient_checkpointing seed data_seed gradient_accumulation_steps deepspeed""",
    ("signllava", "`ExtraArguments`"): "yaml_args",
    ("signllava", "`zero2.json`"): """
        fp16.enabled fp16.loss_scale fp16.loss_scale_window fp16.initial_scale_power
        fp16.hysteresis fp16.min_loss_scale bf16.enabled train_micro_batch_size_per_gpu
        train_batch_size gradient_accumulation_steps zero_optimization.stage
        zero_optimization.overlap_comm zero_optimization.contiguous_gradients
        zero_optimization.sub_group_size zero_optimization.reduce_bucket_size
        zero_optimization.stage3_prefetch_bucket_size
        zero_optimization.stage3_param_persistence_threshold
        zero_optimization.stage3_max_live_parameters zero_optimization.stage3_max_reuse_distance
        zero_optimization.stage3_gather_16bit_weights_on_model_save""",
    ("signllava", "`SignDataArguments`"): """
        data_dir annotation_path.train annotation_path.dev annotation_path.test
        visual_features.STREAM.enable_input visual_features.STREAM.train
        visual_features.STREAM.dev visual_features.STREAM.test context_window_size
        prelude_window_size use_paraphrases prepared_predicted_context
        on_the_fly_predicted_context clip_dir""",
    ("signllava", "`SignModelArguments`"): """
        projectors.pretrained_projector_ckpt projectors.STREAM.dim
        projectors.STREAM.projector_type ENCODER.enable_input ENCODER.checkpoint_path
        ENCODER.model_key ENCODER.freeze ENCODER.lr ENCODER.arch ENCODER.output_dim
        ENCODER.projector ENCODER.batch_size ENCODER.image_size ENCODER.input_dim
        ENCODER.normalization_methods""",
    ("signllava", "`SignMultiTaskArguments`"): """
        translation.enable translation.sample_weight one_word_present.enable
        one_word_present.sample_weight multi_word_present.enable multi_word_present.sample_weight
        multi_word_present.max_num_words is_reversed.enable is_reversed.sample_weight
        TASK.sample_weight""",
    ("signllava", "`PROMPT_OPTIONS`"): """
        translate_no_context translate_with_context one_word_present multi_words_present
        is_reversed""",
    ("signllava", "`GenerateArguments`"): """
        model_path checkpoint_num num_datapoints task generate_des model_base conv_mode top_p
        min_length temperature do_sample skip_special_tokens num_beams remove_invalid_values
        max_new_tokens do_verbose seed bf16""",
    ("signllava", "`LoraArguments`"): """
        bits quant_type double_quant lora_enable lora_r lora_alpha lora_dropout lora_weight_path
        lora_bias""",
    ("signllava", "`sign_public_api.py`"): """
        SignLlava.load_from_checkpoint SignLlava.run_inference
        SignLlava.get_embedding_layer_weights SignLlava.get_all_tokens
        SignLlavaInput.sign2vec_features SignLlavaInput.mae_features SignLlavaInput.dino_features
        SignLlavaInput.prompt SignLlavaInput.generation_config SignLlavaOutput.output
        SignLlavaOutput.sign2vec_embeddings SignLlavaOutput.mae_embeddings
        SignLlavaOutput.dino_embeddings GenerationConfig.max_new_tokens
        GenerationConfig.temperature GenerationConfig.top_p GenerationConfig.num_beams
        GenerationConfig.min_length GenerationConfig.do_sample
        GenerationConfig.remove_invalid_values""",
    ("signllava", "`phoenix14t`"): """
        --model-path --model-base --image-file --query --conv-mode --sep --temperature --top_p
        --num_beams --max_new_tokens --s3d --anno --data_path --s3d_path --vision_tower
        --mm_projector_type --mm_hidden_size --mm_vision_select_layer --mm_use_im_start_end
        --mm_use_im_patch_token""",
    ("coachme", "`TASK`"): "PRETRAIN SPORT HPP_WAY REF DIFF_WAY DIFF_TYPE PROJ_STRATEGY",
    ("coachme", "other keys of recipes"): """
        STANDARD_PATH WEIGHT_PATH DATA.TRAIN DATA.TEST DATA.BATCH_SIZE OPTIMIZER.LR
        OPTIMIZER.MAX_EPOCH OPTIMIZER.WARMUP_STEPS LOGDIR LOSS DEBUG SETTING EVAL.score EVAL.ckpt
        EVAL.UID""",
    ("coachme", "keys of earlier recipes"): """
        HIDDEN_CHANNEL OUT_CHANNEL TRANSFORMATION.REDUCTION_POLICY TASK.PRETRAIN_SETTING
        TASK.PRETRAIN_DIFFERENCE TASK.DIFFERENCE_SETTING TASK.DIFFERENCE_TYPE DATA.UNTRIMMED
        DATA.SEGMENT BRANCH ALIGNMENT.cfg_file ALIGNMENT.ALIGNMENT_CONFIG args.eval_name args.ckpt
        args.gpt_sim args.no_calc_score""",
    ("coachme", "`config.py`"): """
        USE_EMBS D_MODEL NUM_HEADS DIM_FEEDFORWARD NUM_ENCODER_LAYERS LAYER_NORM_EPS NUM_CLASS
        USE_CRF ADD_NOISE HIDDEN_CHANNEL OUT_CHANNEL LR EVAL_STEPS SAVE_STEPS NUM_EPOCHS
        BATCH_SIZE Pretrained Finetune weight_path data out_dir prefix test_data result_dir""",
    ("coachme", "derived by `utils/parser.py`"): "PRETRAINED_FOLDER CKPTDIR JSONDIR",
    ("coachme", "command line"): "--local_rank --local-rank --cfg_file ANTHROPIC_KEY",
    ("coachme", "G-Eval"): "--prompt_fp --save_fp --ground_truth --predict --output",
    ("coachme", "sport indicators"): "--prompt_fp --predict --output",
}
