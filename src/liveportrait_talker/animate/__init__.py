"""A portrait (or a video) that does what the face in a driving video does."""
