"""Every operator of ONNX, by what it does: multiply and add, something else, or what its graphs do.

`onnx_formulas` has those with a formula. What multiplies and adds and has none makes a count incomplete; so
does an operator that is in no list, as one of a new ONNX, of another domain, or a function without a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from bench.instruments.onnx_formulas import FORMULAS

Kind = Literal["formula", "unknown", "graphs", "none"]

DEFAULT_DOMAINS = ("", "ai.onnx")

UNKNOWN: Mapping[str, str] = {
    "": "Det DeformConv DFT ImageDecoder LinearAttention STFT",
    "ai.onnx.ml": "SVMClassifier SVMRegressor TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor",
    "ai.onnx.preview.training": "Gradient",
}
"""Operators that compute in ways that no formula here knows."""

GRAPHS: Mapping[str, str] = {"": "If Loop Scan SequenceMap"}
"""Operators that do what the graphs in them do."""

# Elementwise work, reductions, norms and pooling count 0 by convention, as they do of PyTorch's operators.
NONE: Mapping[str, str] = {
    "": """
        Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Bernoulli
        BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu
        CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Cos Cosh CumProd
        CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Expand
        EyeLike Flatten Floor Gather GatherElements GatherND Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool
        Greater GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish
        Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual
        Log LogSoftmax LpNormalization LpPool Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization
        MelWeightMatrix Min Mish Mod Mul Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero
        Not OneHot Optional OptionalGetElement OptionalHasElement Or PRelu Pad Pow QuantizeLinear
        RMSNormalization RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
        ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round
        Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase
        SequenceInsert SequenceLength Shape Shrink Sigmoid Sign SimplifiedLayerNormalization Sin Sinh Size
        Slice Softmax
        SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat
        StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer
        ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
    """,
    "ai.onnx.ml": """
        ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer
        LabelEncoder Normalizer OneHotEncoder Scaler ZipMap
    """,
    "ai.onnx.preview.training": "Adagrad Adam Momentum",
    "com.microsoft": """
        BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector BitmaskBiasDropout
        BitmaskDropout CropAndResize DequantizeBFP DequantizeLinear DequantizeWithOrder
        EmbedLayerNormalization ExpandDims FastGelu GatherBlockQuantized GatherND Gelu GemmaRotaryEmbedding
        GridSample GroupNorm IsAllFinite MaxpoolWithMask MulInteger MurmurHash3 NGramRepeatBlock NhwcMaxPool
        Pad QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool
        QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere
        QOrderedGelu QOrderedLayerNormalization QuantizeBFP QuantizeLinear QuantizeWithOrder QuickGelu Range
        ReduceSumInteger RelativePositionBias RemovePadding RestorePadding RotaryEmbedding ScaledSiLU
        SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization Tokenizer TorchEmbedding Trilu
        UnfoldTensor Unique
    """,
}


def kind_of(domain: str, name: str) -> Kind:
    """Say what an operator does; what is in no list is unknown. `domain` is empty for ONNX's own."""
    domain = "" if domain in DEFAULT_DOMAINS else domain
    if (domain, name) in FORMULAS:
        return "formula"
    if name in GRAPHS.get(domain, "").split():
        return "graphs"
    return "none" if name in NONE.get(domain, "").split() else "unknown"


def full_name(domain: str, name: str) -> str:
    """Return how an operator is named: with its domain, unless that is ONNX's own."""
    return name if domain in DEFAULT_DOMAINS else f"{domain}.{name}"
