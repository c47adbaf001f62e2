"""The defects of the original and of LivePortrait's code, each with what keeps it out of ours.

A row is (what was wrong, evidence …). Evidence is a test that fails where our code has the defect, or a sentence: why
it cannot occur here, or that it is still to come. A sentence that begins with "kept:" says that we do the same, and why.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from shared import SHARED

ROOT = Path(__file__).parents[1]
SPEC = SHARED / "spec"


# ------------------------------------------------------------------ talker.md §16, by its numbers
INPUTS_AND_FACES: dict[int, tuple[str, ...]] = {
    1: ("no face: a TypeError about unpacking", "tests/test_cli.py::test_no_face_is_a_sentence_about_the_file"),
    2: (
        "blue and red swapped for the detector",
        "tests/face/test_tracked.py::test_faces_are_looked_for_in_red_green_blue",
    ),
    3: (
        "a box beyond the picture's edge cuts out the wrong region",
        "tests/face/test_tracked.py::test_a_small_face_cut_by_the_pictures_edge_is_found_where_it_is",
        "tests/face/test_crop.py::test_a_window_shows_what_is_there_at_the_edge_and_of_a_huge_face",
        "tests/render/test_composite.py::test_what_lies_outside_is_cut_off",
    ),
    4: (
        "several faces: another person from frame to frame",
        "tests/face/test_tracked.py::test_the_face_that_was_largest_at_first_is_kept_when_another_outgrows_it",
        "tests/test_cli.py::test_two_faces_can_be_told_apart",
    ),
    5: (
        "one missed frame of a video ends the run",
        "tests/face/test_tracked.py::test_a_missed_frame_takes_its_face_from_those_around",
        "tests/test_options.py::test_a_face_that_leaves_is_not_painted_on_what_follows",
    ),
    6: (
        "every frame cropped by itself: the face trembles",
        "tests/face/test_tracked.py::test_a_trembling_face_is_tracked_more_steadily",
    ),
    7: (
        "a crop that is no square is squeezed to one, and measured so",
        "tests/face/test_crop.py::test_a_skew_is_no_crop",
        "tests/face/test_tracked.py::test_a_face_is_measured_alike_in_a_picture_of_any_shape",
        "tests/neural/test_alignment.py::test_the_regressors_face_does_not_depend_on_the_picture_around_it",
    ),
    8: (
        "a huge face needs a constant that Pillow 10 has not",
        "tests/media/test_still.py::test_scaled_down_with_a_word",
        "tests/face/test_crop.py::test_a_window_shows_what_is_there_at_the_edge_and_of_a_huge_face",
        "tests/neural/test_neural_renderer.py::test_a_large_face_is_averaged_not_skipped",
    ),
    9: (
        "a rectangle of the shrunk picture used in the whole one",
        "tests/face/test_tracked.py::test_points_are_the_pictures_own_however_large_it_is",
        "tests/face/test_crop.py::test_a_window_shows_what_is_there_at_the_edge_and_of_a_huge_face",
        "tests/neural/test_neural_renderer.py::test_what_is_drawn_comes_back_where_it_was",
    ),
    10: (
        "the kind of a file told by three lower-case endings",
        "tests/media/test_still.py::test_formats_by_content",
        "tests/media/test_footage.py::test_every_frame_forward_and_backward",
    ),
    11: (
        "a picture that cannot be read fails in a colour conversion",
        "tests/media/test_still.py::test_damaged_and_wrong_files",
        "tests/neural/test_neural_renderer.py::test_a_wrong_file_is_told_before_a_network_is_loaded",
    ),
    12: (
        "a wrong frame count: endless loop or crash",
        "tests/media/test_footage.py::test_every_frame_forward_and_backward",  # bare.h264 states no count
        "tests/media/test_footage.py::test_a_cut_video_is_used_as_far_as_it_goes",
    ),
    13: (
        "rotation, alpha, 16 bits and animations left to chance",
        "tests/media/test_footage.py::test_rotation_by_metadata",
        "tests/media/test_still.py::test_orientation",
        "tests/media/test_still.py::test_transparency_shows_the_backdrop",
        "tests/media/test_still.py::test_deep_grey_is_scaled",
        "tests/media/test_still.py::test_animation_gives_its_first_frame",
    ),
    14: (
        "--no_crop squeezes a picture to a square",
        "tests/neural/test_neural_renderer.py::test_a_frame_that_is_a_face_already_is_not_squeezed",
    ),
    15: (
        "the inputs are not marked as required",
        "tests/test_cli.py::test_what_is_not_given_is_named",
        "tests/original/test_inference_door.py::test_the_three_inputs_are_required",
    ),
    16: (
        "arrays of unequal parts, names that NumPy has dropped",
        "tests/neural/test_alignment.py::test_alignment",
        "tests/neural/test_learned_driver.py::test_source_coefficients",
    ),
    17: (
        "landmarks found a second time in the crop, or not",
        "tests/neural/test_learned_driver.py::test_a_video_is_read_where_the_face_first_shows",  # nobody is in its noise
        "tests/face/test_crop.py::test_a_source_is_cut_to_the_window_asked_for",  # nor in its black picture
    ),
}
AUDIO_AND_LIPS: dict[int, tuple[str, ...]] = {
    18: (
        "a sound under one frame gives empty tensors",
        "tests/media/test_sound.py::test_length_limits",
        "tests/neural/test_learned_driver.py::test_any_length_at_any_rate",
    ),
    19: (
        "no blinks can be drawn for 21 frames",
        "tests/motion/test_blink.py::test_classic_works_at_every_length_with_one_shape",
    ),
    20: (
        "blinks of a short clip have another shape",
        "tests/motion/test_blink.py::test_classic_works_at_every_length_with_one_shape",
        "tests/motion/test_blink.py::test_natural_blinks_at_any_length_and_rate",
    ),
    21: (
        "windows of 28 rows here, of 29 in training",
        "tests/neural/test_windows.py::test_goldens",
        "tests/neural/test_learned_driver.py::test_files_of_ones_own_bring_their_window_length",
    ),
    22: (
        "the first frame's mouth is the rest of the whole clip",
        "tests/neural/test_learned_driver.py::test_how_a_clip_begins_does_not_change_the_rest_of_it",
    ),
    23: (
        "lips smoothed for videos only",
        "tests/neural/test_learned_driver.py::test_smoothing_is_the_same_for_pictures_and_videos",
    ),
    24: (
        "the right eye is given the larger ratio of both",
        "tests/neural/test_neural_renderer.py::test_the_eye_network_is_told_of_each_eye",
        "tests/neural/test_liveportrait_crop.py::test_ratios_of_98_points",
    ),
    25: (
        "with the pose, 70 numbers go into a network of 64",
        "tests/neural/test_learned_driver.py::test_only_the_expression_of_the_source_counts",
        "tests/neural/test_neural_cli.py::test_every_mode_of_a_picture",
    ),
    26: (
        "fewer than three frames cannot be smoothed",
        "tests/neural/test_windows.py::test_clips_too_short_to_smooth_pass_through",
        "tests/neural/test_audio_head.py::test_any_length_at_any_rate",
    ),
    27: (
        "weights that are missing go unnoticed",
        "tests/models/test_importing.py::test_tensors_that_are_not_the_networks_are_refused",
    ),
    28: (
        "a second network from one configuration has other layers",
        "tests/neural/test_audio_head.py::test_a_second_network_has_the_layers_of_the_first",
    ),
    29: (
        "clips of a batch are mixed",
        "tests/neural/test_network_parity.py::test_audio2pose_does_not_mix_the_clips_of_a_batch",
    ),
    30: (
        "gradients kept, all frames at once: memory grows with the voice",
        "tests/neural/test_learned_driver.py::test_no_gradients",
        "tests/neural/test_learned_driver.py::test_long_voices_go_through_in_pieces",
        "tests/neural/test_neural_cli.py::test_memory_does_not_grow_with_the_voice",
    ),
    31: (
        "725 MB read anew for every network",
        "tests/models/test_checkpoints.py::test_only_the_needed_tensors_are_read",
        "tests/neural/test_learned_driver.py::test_networks_are_loaded_once_and_late",
    ),
    32: (
        "the sound of a video is up to chance; blinks and poses know 25 fps only",
        "tests/media/test_writer.py::test_sound_ends_with_a_shorter_picture",  # reads the sound of a video
        "tests/motion/test_blink.py::test_every_clip_blinks_at_a_human_rate",
        "tests/motion/test_blink.py::test_classic_keeps_its_times_at_other_rates",
        "tests/motion/test_head.py::test_frame_rate_does_not_change_the_motion",
    ),
}
HEAD_AND_REFERENCE: dict[int, tuple[str, ...]] = {
    33: (
        "a reference that is no longer than the voice crashes",
        "tests/driving/test_reference.py::test_a_reference_of_any_length_leads_the_whole_clip",
    ),
    34: (
        "the same from its first frame: too short a list",
        "tests/driving/test_reference.py::test_a_reference_of_any_length_leads_the_whole_clip",
    ),
    35: ("a picture as the reference crashes", "tests/test_options.py::test_a_still_reference_gives_its_pose"),
    36: (
        "poses kept by a part of the file's name",
        "tests/driving/test_reference.py::test_poses_are_kept_by_what_is_in_the_file",
    ),
    37: (
        "--still with a reference moves the head",
        "tests/test_cli.py::test_what_makes_no_sense_is_refused_in_one_sentence",
    ),
    38: (
        "the head jumps to the reference's own pose",
        "tests/driving/test_reference.py::test_a_head_turns_about_the_sources_own_pose",
        "tests/driving/test_reference.py::test_a_head_starts_from_the_sources_own_pose",
    ),
    39: (
        "the reference's frame rate is ignored",
        "tests/driving/test_reference.py::test_a_head_keeps_its_time_at_any_frame_rate",
    ),
    40: (
        "time stretched to whole seconds, none under one",
        "tests/motion/test_classic_head.py::test_the_head_keeps_time_at_any_length",
    ),
    41: (
        "an even window crashes; lips at rest open the gate",
        "tests/motion/test_classic_head.py::test_gate_keeps_the_length_for_odd_and_even_windows",
        "tests/motion/test_classic_head.py::test_gate_shuts_in_silence_and_opens_for_either_kind_of_mouth",
    ),
    42: (
        "smoothed matrices are no rotations",
        "tracks carry angles and only angles are smoothed; a matrix is made of them last",
        "tests/motion/test_rotation.py::test_degrees_survive_the_way_there_and_back",  # such a matrix is orthonormal
    ),
    43: (
        "other amplitudes than documented, an ease every 2 s, noise in every frame",
        "tests/motion/test_head.py::test_moves_like_a_person",
        "tests/motion/test_head.py::test_starts_gently_from_the_source",
        "tests/test_options.py::test_amounts",
    ),
    44: (
        "no seed: every run differs",
        "tests/test_cli.py::test_the_same_seed_gives_the_same_video_and_another_another",
        "tests/neural/test_neural_cli.py::test_the_same_seed_gives_the_same_frames",
    ),
}
OUTPUT: dict[int, tuple[str, ...]] = {
    45: (
        "a picture comes out as its face crop",
        "tests/test_cli.py::test_the_default_output_keeps_the_whole_names",
        "tests/neural/test_neural_cli.py::test_every_mode_of_a_picture",
    ),
    46: (
        "a video's frame rate ignored: slow motion",
        "tests/face/test_tracked.py::test_a_video_keeps_its_time_at_any_frame_rate",
        "tests/test_options.py::test_a_video_keeps_its_head_its_eyes_and_its_rate",
    ),
    47: (
        "a hard edge about the pasted face",
        "tests/neural/test_neural_renderer.py::test_a_brighter_face_leaves_no_seam",
        "tests/render/test_mesh.py::test_the_background_ring_does_not_move",
    ),
    48: (
        "odd sizes are resized, then resized to multiples of 16",
        "tests/media/test_writer.py::test_an_odd_size_is_not_resized",
        "tests/media/test_writer.py::test_odd_sizes_grow_by_one_pixel",
    ),
    49: (
        "colours cut off, untagged, of a quality nobody chose",
        "tests/media/test_writer.py::test_colours_survive",
        "tests/neural/test_pasteback.py::test_a_mixed_pixel_is_rounded",
        "kept: the neural renderer truncates what the generator draws, half a level darker, for parity with "
        "LivePortrait (liveportrait.md §12 step 6)",
    ),
    50: (
        "commands through a shell, with paths in them",
        "tests/media/test_process.py::test_the_package_starts_no_other_program",
        "tests/media/test_process.py::test_any_name_is_only_a_name",
    ),
    51: (
        "a failed encoder loses the video without a word",
        "tests/media/test_process.py::test_a_full_disk_is_reported_and_leaves_no_files",
        "tests/media/test_writer.py::test_an_old_file_stays_until_the_new_one_is_complete",
    ),
    52: (
        "an existing output waits for an answer; runs of one second collide",
        "tests/test_cli.py::test_outputs_that_cannot_be_written",
        "tests/media/test_writer.py::test_a_file_of_that_name_that_came_meanwhile_is_kept",
        "tests/original/test_inference_door.py::test_runs_side_by_side_do_not_take_one_name",
    ),
    53: (
        "the whole video and all drawn frames in memory",
        "tests/media/test_process.py::test_memory_is_flat",
        "tests/media/test_footage.py::test_any_order_gives_the_same_frames",  # and a bounded cache
        "tests/neural/test_neural_renderer.py::test_a_video_is_looked_at_and_drawn_a_batch_at_a_time",
    ),
    54: (
        "one frame at a time, whatever the batch size",
        "tests/neural/test_neural_renderer.py::test_a_video_is_looked_at_and_drawn_a_batch_at_a_time",
    ),
    55: (
        "output named by what stands before the first dot",
        "tests/test_cli.py::test_the_default_output_keeps_the_whole_names",
        "tests/original/test_inference_door.py::test_the_names_of_the_output",
    ),
    56: (
        "frames that come twice are painted in place",
        "tests/render/test_composite.py::test_a_window_replaces_its_pixels_and_only_them",
        "tests/media/test_footage.py::test_frames_are_read_only_and_bounds_are_checked",
    ),
    57: ("checkpoints may run code", "tests/models/test_checkpoints.py::test_pickle_is_refused_and_not_run"),
    58: ("the default device is mps", "tests/neural/test_neural_renderer.py::test_the_device_is_what_is_here"),
    59: (
        "unknown keys are a TypeError, unused ones pass in silence",
        "tests/original/test_config.py::test_an_unknown_key_is_refused_by_name",
        "tests/original/test_config.py::test_without_effect",
    ),
}
TRAINING_ROWS: dict[int, tuple[str, ...]] = {
    60: (
        "crops stay BGR",
        "tests/training/test_extract.py::test_a_record_holds_the_networks_outputs",
    ),
    61: (
        "checkpoints named by a loss that is never logged",
        "tests/training/test_train.py::test_a_run_writes_the_reported_files",
    ),
    62: ("its checkpoint cannot be loaded to talk", "tests/models/test_checkpoints.py::test_lightning_checkpoints"),
    63: (
        "random frames validate",
        "tests/training/test_runs_and_loss.py::test_processes_share_the_batches_of_one",
    ),
    64: (
        "no workers, every item opens and seeks",
        "tests/training/test_records_and_arrays.py::test_arrays_hold_every_frame_and_split_by_speaker",
    ),
    65: (
        "teacher in fp16 on a device of its own",
        "targets are extracted once, in float32 as at inference, and no teacher runs while training: tests/training/test_extract.py::test_a_record_holds_the_networks_outputs",
    ),
    66: (
        "one frame an utterance and epoch",
        "tests/training/test_runs_and_loss.py::test_runs_hold_every_frame_with_its_window",
    ),
    67: (
        "words replaced anywhere in a path",
        "paths are made of a data set's own folders and names, and no word of a path is replaced: tests/training/test_extract.py::test_broken_clips_are_counted_and_named",
    ),
    68: (
        "progress counts the letters of a path",
        "tests/training/test_dataset_download.py::test_the_command_counts_failures_and_succeeds",
    ),
    69: (
        "any download error removes the folder",
        "tests/training/test_dataset_download.py::test_finished_clips_stay_when_a_video_is_removed",
        "tests/training/test_dataset_download.py::test_a_run_killed_at_any_moment_ends_with_the_same_files",
    ),
    70: (
        "empty lists and stray files crash",
        "tests/training/test_voxceleb_metadata.py::test_videos_are_found_sorted_and_other_files_skipped",
        "tests/training/test_voxceleb_metadata.py::test_an_invalid_line_is_named",
    ),
    71: (
        "boxes in pixels taken for fractions",
        "tests/training/test_voxceleb_metadata.py::test_pixel_boxes_of_voxceleb1_become_fractions",
    ),
    72: (
        "the last frame is cut off, slow seeks",
        "tests/training/test_voxceleb_metadata.py::test_the_last_frame_is_kept",
        "tests/training/test_cut.py::test_late_segments_are_exact",
    ),
    73: (
        "one frame without a face discards the utterance",
        "tests/training/test_records_and_arrays.py::test_unseen_frames_are_interpolated",
    ),
    74: (
        "too small a box: corner and picture disagree",
        "tests/training/test_voxceleb_metadata.py::test_golden_crops",
        "tests/training/test_voxceleb_metadata.py::test_a_crop_is_never_empty",
    ),
    75: (
        "threads behind two locks",
        "tests/training/test_extract.py::test_decoding_ahead_changes_nothing",
    ),
    76: (
        "no split, two spellings",
        "tests/training/test_voxceleb_metadata.py::test_a_split_depends_on_speaker_and_seed_only",
        "tests/original/test_train_door.py::test_both_spellings_extract",
        "tests/original/test_train_door.py::test_download_asks_for_the_metadata",
    ),
    77: (
        "no resume, seed, precision or device; exit 0 on failure",
        "tests/training/test_train.py::test_a_killed_run_is_resumed_with_the_same_result",
        "tests/training/test_train.py::test_the_other_problems_run",
        "tests/original/test_train_door.py::test_train_needs_a_name",
    ),
}
SADTALKER: dict[int, tuple[str, ...]] = {
    78: ("a string is raised, two values for three", "tests/test_cli.py::test_no_face_is_a_sentence_about_the_file"),
    79: (
        "the bottom limited by the width",
        "tests/face/test_crop.py::test_a_window_shows_what_is_there_at_the_edge_and_of_a_huge_face",
    ),
    80: (
        "camera angles: equal neighbours, one frame and fractions fail",
        "tests/motion/test_keyframes.py::test_any_list_works_at_one_speed",
        "tests/motion/test_keyframes.py::test_equal_neighbours_take_no_time",
        "tests/motion/test_keyframes.py::test_no_way_to_go_is_held",
    ),
    81: (
        "a bare except hides why weights were not loaded",
        "tests/models/test_checkpoints.py::test_truncated_files_are_reported",
        "tests/models/test_checkpoints.py::test_another_network_is_named",
        "tests/models/test_importing.py::test_tensors_that_are_not_the_networks_are_refused",
    ),
}
GROUPS = (INPUTS_AND_FACES, AUDIO_AND_LIPS, HEAD_AND_REFERENCE, OUTPUT, TRAINING_ROWS, SADTALKER)

# ------------------------------------------------------------------ liveportrait.md §18, in its order
LIVEPORTRAIT: dict[str, tuple[str, ...]] = {
    "source-vx": (
        "the crop's shift across is ignored",
        "tests/neural/test_liveportrait_crop.py::test_shift_x_is_honoured",
        "tests/neural/test_neural_renderer.py::test_the_crop_is_the_users",
    ),
    "driving-vx": (
        "so is a driving clip's, and its border",
        "no option shifts a driving clip's crop: it is LivePortrait's own, averaged over the clip as its specification says",
    ),
    "lmk-crop": (
        "landmarks of the crop are the whole picture's",
        "tests/face/test_crop.py::test_a_source_is_cut_to_the_window_asked_for",
        "tests/face/test_crop.py::test_a_window_shows_what_is_there_at_the_edge_and_of_a_huge_face",
    ),
    "landmark-start": (
        "without a start, the picture is squeezed to a square",
        "tests/face/test_tracked.py::test_a_face_is_measured_alike_in_a_picture_of_any_shape",
    ),
    "driving-right-eye": (
        "the driving right eye is ignored",
        "tests/driving/test_reference.py::test_a_wink_is_one_eyes",
        "tests/neural/test_neural_renderer.py::test_both_eyes_count",
        "tests/neural/test_animation_points.py::test_both_driving_eyes_count",
    ),
    "retargeting-drops-motion": (
        "eyes or lips retargeted: the other motion is lost",
        "tests/neural/test_neural_renderer.py::test_blinks_and_lips_are_added_to_the_heads_motion",
        "tests/neural/test_animation_points.py::test_relative_retargeting_keeps_the_motion",
    ),
    "one-driving-image": (
        "one driving picture, region eyes: its expression is added whole",
        "tests/neural/test_animation_points.py::test_only_what_is_mended_differs",
        "tests/driving/test_reference.py::test_a_still_reference_does_not_blink",
    ),
    "motion-multiplier": (
        "made from the square root of a volume ratio",
        "kept for animate, where its released goldens ask for it; the user's own multiplier is a plain factor: "
        "tests/neural/test_neural_renderer.py::test_settings_reach_the_points",
    ),
    "smoothed-rotations": (
        "not orthonormal",
        "tracks carry angles and only angles are smoothed; a matrix is made of them last",
        "tests/motion/test_rotation.py::test_degrees_survive_the_way_there_and_back",
        "tests/neural/test_animation_points.py::test_smoothed_rotations_are_rotations",
    ),
    "one-frame": (
        "one frame cannot be smoothed",
        "tests/motion/test_smoothing.py::test_a_constant_stays_and_one_frame_passes",
    ),
    "scale-shape": (
        "right for one face at a time only",
        "tests/neural/test_keypoints.py::test_scale_is_of_its_own_face_and_z_stays_out",
    ),
    "t-z-in-place": (
        "z is zeroed in the caller's array",
        "tests/neural/test_keypoints.py::test_scale_is_of_its_own_face_and_z_stays_out",
    ),
    "two-defaults": (
        "library and command line have other defaults",
        "tests/test_cli.py::test_the_command_line_has_the_librarys_defaults",
        "tests/neural/test_neural_renderer.py::test_the_parts_have_the_options_defaults",
    ),
    "lips-of-frame-0": (
        "a video's lips follow frame 0's mouth",
        "tests/neural/test_neural_renderer.py::test_a_video_that_begins_with_an_open_mouth_rests_on_its_shut_one",
        "tests/neural/test_neural_renderer.py::test_a_video_talks_from_its_mouth_at_rest",
    ),
    "right-blink-and-memory": (
        "the right eye's blinks unused, frames one by one, all kept",
        "tests/neural/test_neural_renderer.py::test_both_eyes_count",
        "tests/neural/test_neural_renderer.py::test_a_video_is_looked_at_and_drawn_a_batch_at_a_time",
    ),
    "pickled-templates": (
        "motion is kept as pickles",
        "tests/driving/test_reference.py::test_a_pickle_in_the_place_of_kept_poses_is_not_run",
        "tests/motion/test_released_template.py::test_nothing_is_executed",
    ),
}
ALL = [(str(number), row) for group in GROUPS for number, row in group.items()] + list(LIVEPORTRAIT.items())
NAMED = re.compile(r"\btests/[\w/]+\.py::\w+")


@cache
def names_in(path: Path) -> frozenset[str]:
    """The test functions of a file, parametrised ones by their bare names."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(f.name for f in body if isinstance(f, ast.FunctionDef) and f.name.startswith("test_"))


def section(spec: str, heading: str) -> list[str]:
    """The first cells of the table rows under a heading of a shared specification, without the header's."""
    if not (SPEC / spec).is_file():
        pytest.skip("the shared specifications are not beside this checkout")
    text = (SPEC / spec).read_text(encoding="utf-8").split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\|([^|]+)\|", text, re.MULTILINE)
    return [cell.strip() for cell in cells if cell.strip(" -") and cell.strip() not in ("#", "where")]


def test_every_defect_has_one_row():
    assert [number for group in GROUPS for number in group] == list(range(1, 82))
    assert len(LIVEPORTRAIT) == 16


def test_the_specifications_have_no_others():
    assert section("talker.md", "16.") == [str(number) for number in range(1, 82)]
    assert len(section("liveportrait.md", "18.")) == len(LIVEPORTRAIT)


@pytest.mark.parametrize(("name", "row"), ALL, ids=[name for name, _ in ALL])
def test_a_row_is_held_by_tests_that_exist_or_by_a_reason(name, row):
    what, *evidence = row
    assert len(what.split()) >= 2 and evidence, "say what was wrong, and what keeps it out"
    assert len(set(evidence)) == len(evidence)
    for item in evidence:
        named = NAMED.findall(item)
        for test in named:
            path, _, function = test.partition("::")
            assert (ROOT / path).is_file() and function in names_in(ROOT / path), f"there is no {test}"
        if named != [item]:
            assert "::" not in NAMED.sub("", item), f"a test that cannot be read: {item}"
            assert len(NAMED.sub("", item).split()) >= 5, f"too short a reason: {item}"
