"""What becomes of the training keys of the original's config.yaml (talker.md §14.1): three sections, three modes."""

from __future__ import annotations

from .schema import Kind, Section, fixed, honoured, without_effect

_SIZES = "generate knows networks of this one size"

TRAIN = Section(
    "train",
    (
        honoured("checkpoint_save_path", Kind.TEXT, "/mnt/ckpts"),
        without_effect("logging_save_path"),  # logs lie beside the checkpoints of their run
        honoured("device", Kind.TEXT, "auto"),
        honoured("batch_size", Kind.WHOLE, 64),
        honoured("num_workers", Kind.WHOLE, 0),
        honoured("learning_rate", Kind.NUMBER, 2e-4),
        honoured("train_dataset_folder_path", Kind.TEXT, "/mnt/train"),
        without_effect("val_dataset_folder_path"),  # speakers are shared out by a seed
        honoured("dataset_cfg.semantic_radius", Kind.WHOLE, 14),
        fixed("dataset_cfg.input_size", Kind.WHOLE, 256, "the motion extractor sees 256 px"),
        without_effect("motionextraction_cfg.models_config_path"),
        without_effect("motionextraction_cfg.motion_extractor_checkpoint_path"),  # the targets are extracted already
        fixed("mappingnet_cfg.coeff_nc", Kind.WHOLE, 64, _SIZES),
        fixed("mappingnet_cfg.descriptor_nc", Kind.WHOLE, 1024, _SIZES),
        fixed("mappingnet_cfg.layer", Kind.WHOLE, 3, _SIZES),
        fixed("mappingnet_cfg.num_kp", Kind.WHOLE, 6, _SIZES),
        without_effect("mappingnet_cfg.num_bins"),
        fixed("loss_cfg.reduction", Kind.TEXT, "mean", "sums would grow with the batch"),
    ),
    open_folders=("model_cfg",),
)

DOWNLOAD = Section(
    "download",
    (
        fixed("target_fps", Kind.NUMBER, 25.0, "coefficients are 25 a second"),
        honoured("dataset_folder_path", Kind.TEXT, "/mnt/train"),
        honoured("raw_folder_path", Kind.TEXT, "/mnt/raw_train"),
    ),
)

THREEDMM = Section(
    "threedmm",
    (
        honoured("device", Kind.TEXT, "auto"),
        fixed("fps", Kind.NUMBER, 25.0, "coefficients are 25 a second"),
        honoured("batch_size", Kind.WHOLE, 28),
        honoured("dataset_folder_path", Kind.TEXT, "/mnt/train"),
        honoured("raw_folder_path", Kind.TEXT, "/mnt/raw_train"),
        honoured("sadtalker_checkpoint_path", Kind.TEXT, None),
        honoured("motion_extractor_checkpoint_path", Kind.TEXT, None),  # ours: the targets are extracted, too
        fixed("preprocesser_cfg.pic_size", Kind.WHOLE, 256, "the networks see 256 px"),
        without_effect("preprocesser_cfg.model_path"),
        without_effect("preprocesser_cfg.frontality_threshold"),
        without_effect("preprocesser_cfg.lm3d_mat_path"),
    ),
)
