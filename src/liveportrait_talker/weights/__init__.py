"""Network weights: released files, their download, verification, conversion and loading.

`registry` lists the released files, `download` and `importing` bring them into the `store` and convert them once, and
`importing.load_state_dict` reads them. `checkpoints` finds a network in a file of either format (`safetensors_files`,
`torch_files`) and compares it with the list in `tensors`. torch, safetensors and HTTP are imported on first use.
"""
