"""Accuracy benchmark: contestants on the same images, augmentation, budget and seeds; prompt analyses."""
