"""Face detection, landmarks, tracking, crops and measurements."""
