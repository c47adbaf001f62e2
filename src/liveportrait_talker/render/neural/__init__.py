"""The neural renderer: LivePortrait's networks and the maths between them. The one home of torch in `render`."""
