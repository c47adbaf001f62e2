"""A face posed by hand: sliders, copied expressions, keyframes."""
