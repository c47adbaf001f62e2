"""The neural renderer: LivePortrait's networks and arithmetic on keypoints. No other part of `render` uses torch."""
