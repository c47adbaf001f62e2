"""Network weights: released files, their download, verification, conversion and loading.

`registry` lists the released files, `download` and `importing` bring them into the `store` and convert them once, and
`importing.load_state_dict` reads them. torch, safetensors and HTTP are imported on first use.
"""
