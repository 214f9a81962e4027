"""Train nano's weights: network, optimizers, recipes, checkpoints."""
