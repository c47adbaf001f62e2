"""The face-mesh renderer: nothing to download."""
