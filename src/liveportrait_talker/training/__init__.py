"""Preparation of training data and training of the MappingNet, in resumable stages (docs/method/training.md)."""
