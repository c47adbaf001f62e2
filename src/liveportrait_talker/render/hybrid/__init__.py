"""The hybrid renderer: mouths that the networks draw once a portrait, played by the embedded renderer."""
