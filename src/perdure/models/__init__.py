"""Networks: Equinox modules from one input to its outputs, every leaf an array."""

from perdure.models.adaptors import array_model, from_init_apply
from perdure.models.conv import ConvNet, omniglot_convnet
from perdure.models.cosine import CosineMLP
from perdure.models.mlp import MLP, benchmark_mlp
from perdure.models.narrowing import Narrowable
from perdure.models.normalization import BatchModel, BatchNorm, Statistics, split_trainable
from perdure.models.resnet import ResNet18, reduced_resnet18

__all__ = [
    "MLP",
    "BatchModel",
    "BatchNorm",
    "ConvNet",
    "CosineMLP",
    "Narrowable",
    "ResNet18",
    "Statistics",
    "array_model",
    "benchmark_mlp",
    "from_init_apply",
    "omniglot_convnet",
    "reduced_resnet18",
    "split_trainable",
]
