"""The rows of the workloads that come with the suite, each with how its target was measured."""

from __future__ import annotations

from typing import Any

from bench.workloads.table import WORKLOADS

_add = WORKLOADS.add

_add(
    "fashion-mnist-simplecnn",
    "bench.workloads.image_classification:FASHION_MNIST_SIMPLECNN",
    about="SimpleCNN: two convolutions and two linear layers, on 70,000 images of clothes",
    target=0.90,
    batch_size=128,
    train_steps=2345,
    recover_steps=234,
    student_steps=938,
    datasets=("fashion-mnist",),
)
_add(
    "fashion-mnist-simplecnn-mse",
    "bench.workloads.image_classification:FASHION_MNIST_SIMPLECNN_MSE",
    about="SimpleCNN on the same images, trained with mean squared error on one-hot labels",
    target=0.90,
    batch_size=128,
    train_steps=2345,
    recover_steps=234,
    student_steps=938,
    datasets=("fashion-mnist",),
)
# Measured with seed 0: held from step 585, 0.898 at step 1,170.
_add(
    "fashion-mnist-resnet18",
    "bench.workloads.image_classification:FASHION_MNIST_RESNET18",
    about="ResNet-18 (He et al. 2016) with ImageNet's first layers, 11 million weights, on the same images",
    target=0.87,
    batch_size=128,
    train_steps=1170,
    recover_steps=117,
    student_steps=468,
    datasets=("fashion-mnist",),
    optimizer="adamw:lr=0.001",
)
# Measured with seed 0: held from step 702, 0.846 at step 1,400.
_add(
    "fashion-mnist-vit",
    "bench.workloads.image_classification:FASHION_MNIST_VIT",
    about="A small Vision Transformer (Dosovitskiy et al. 2021), 4 layers x 96, on the same images",
    target=0.82,
    batch_size=128,
    train_steps=1400,
    recover_steps=140,
    student_steps=560,
    datasets=("fashion-mnist",),
    optimizer="adamw:lr=0.001",
)
# Reached after 837 steps, 0.709, 0.727 and 0.713 in a row; 0.5 after 186; a box of mean size has 0.000.
_add(
    "composed-scenes-detector",
    "bench.workloads.object_detection:COMPOSED_SCENES_DETECTOR",
    about="A small anchor-free detector (after FCOS, Tian et al. 2019) on clothes pasted on photographs",
    quality_metric="map50",
    target=0.70,
    batch_size=32,
    train_steps=1600,
    recover_steps=160,
    student_steps=800,
    evaluations_per_epoch=1,
    datasets=("fashion-mnist", "photographs"),
    optimizer="adamw:lr=0.002",
    needs=("pycocotools",),
    install="pip install 'dl-efficiency-bench[workloads]'",
)
_add(
    "digits",
    "bench.workloads.image_classification:DIGITS",
    about="A small CNN on scikit-learn's 1,797 handwritten digits, no download",
    target=0.95,
    batch_size=32,
    train_steps=450,
    recover_steps=45,
    student_steps=180,
    datasets=("digits",),
)
# Just above least squares, 0.404. adamw held 0.413 to 0.421 by 3 seeds, 0.40 after 99 to 135 of these short
# steps, then overfits; sgd at its rate held 0.390 to 0.407, adamw at lr=0.001 0.408 to 0.419.
_add(
    "diabetes-mlp",
    "bench.workloads.regression:DIABETES_MLP",
    about="Two hidden layers on 442 patients: disease progression after one year (Efron et al. 2004)",
    quality_metric="r2",
    target=0.41,
    batch_size=32,
    train_steps=270,
    recover_steps=27,
    student_steps=108,
    evaluations_per_epoch=1,
    datasets=("diabetes",),
    optimizer="adamw:lr=0.0003",
)
# The best single feature has 0.967. adamw held 0.9895 to 0.994 by 3 seeds, this target after 20 to 35 steps;
# so easy that sgd does too, after 10.
_add(
    "breast-cancer-mlp",
    "bench.workloads.medical_diagnosis:BREAST_CANCER_MLP",
    about="Two hidden layers on 569 tumours: benign or malignant (Street et al. 1993)",
    quality_metric="auc",
    target=0.985,
    batch_size=32,
    train_steps=220,
    recover_steps=22,
    student_steps=88,
    evaluations_per_epoch=2,
    datasets=("breast-cancer",),
    optimizer="adamw:lr=0.001",
)
# Measured with seeds 0 and 1: held from step 144 and from step 72, 0.940 at most, and 0.89 of the test's. Of
# single numbers the skew of the stain has 0.844, and 0.774 of the test's.
_add(
    "stained-tissue-cnn",
    "bench.workloads.stained_tissue:STAINED_TISSUE_CNN",
    about="A small CNN on a micrograph: which patches of tissue express a protein, from their nuclei",
    quality_metric="auc",
    target=0.90,
    batch_size=64,
    train_steps=288,
    recover_steps=29,
    student_steps=115,
    datasets=("stained-tissue",),
    optimizer="adamw:lr=0.001",
)
# The target is not measured: GroupLens was out of reach. Published: 0.37 by popularity, 0.44 by BPR, 0.75 by
# He et al.'s nets (doi 10.1155/2022/9593957, table 3). Rate and steps were tried on made-up ratings.
_add(
    "movielens-100k-factors",
    "bench.workloads.recommendation:MOVIELENS_100K_FACTORS",
    about="Matrix factorization on 100,000 film ratings: which film a user rates next (He et al. 2017)",
    quality_metric="hit_rate_at_10",
    target=0.60,
    batch_size=1024,
    train_steps=4830,
    recover_steps=483,
    student_steps=1932,
    evaluations_per_epoch=2,
    datasets=("movielens-100k",),
    optimizer="adamw:lr=0.001",
)
# Measured with seed 0: 0.508, 0.547, 0.572, 0.530 after 774, 1,161, 1,548 and 1,935 steps, then it overfits;
# the most popular have 0.424.
_add(
    "factbook-trade-factors",
    "bench.workloads.recommendation:FACTBOOK_TRADE_FACTORS",
    about="The same factorization on what 236 countries grow, make, sell and buy: what a country does too",
    quality_metric="hit_rate_at_10",
    target=0.53,
    batch_size=256,
    train_steps=1800,
    recover_steps=180,
    student_steps=720,
    evaluations_per_epoch=1,
    datasets=("world-factbook",),
    optimizer="adamw:lr=0.001",
)
# Measured with seed 0: held from step 1,000; 0.1386 (1.977 nats) at step 1,125. Pairs of characters: 0.0817.
_add(
    "shakespeare-gpt2",
    "bench.workloads.language_model:SHAKESPEARE_GPT2",
    about="GPT-2's decoder (Radford et al. 2019), 4 layers x 192, on the characters of Shakespeare's plays",
    quality_metric="likelihood",
    target=0.13,
    batch_size=8,
    train_steps=2000,
    recover_steps=200,
    student_steps=1000,
    evaluations_per_epoch=10,
    datasets=("shakespeare",),
    optimizer="adamw:lr=1e-3",
    needs=("transformers",),
    install="pip install 'dl-efficiency-bench[workloads]'",
    generates=True,
)
_LLAMA: Any = {
    "quality_metric": "likelihood",
    "batch_size": 8,
    "evaluations_per_epoch": 8,
    "datasets": ("shakespeare",),
    "optimizer": "adamw:lr=1e-3",
    "needs": ("transformers", "tokenizers"),
    "install": "pip install 'dl-efficiency-bench[workloads]'",
    "generates": True,
}
# Measured with seed 0: held from step 735; 0.0277 (3.587 nats) at step 1,000. Token frequencies: 0.0031.
_add(
    "shakespeare-llama",
    "bench.workloads.llama:SHAKESPEARE_LLAMA",
    about="Llama's decoder (Touvron et al. 2023), 4 layers x 192, on tokens of Shakespeare's plays (BPE)",
    target=0.0235,
    train_steps=1000,
    recover_steps=100,
    student_steps=500,
    **_LLAMA,
)
# The target is the smaller one's: this training was not measured.
_add(
    "shakespeare-llama-22m",
    "bench.workloads.llama:SHAKESPEARE_LLAMA_22M",
    about="The same decoder, 6 layers x 576 and 22 million weights, on the same tokens",
    target=0.0235,
    train_steps=600,
    recover_steps=60,
    student_steps=300,
    **_LLAMA,
)
# Measured with seed 0: 0.750 or more from step 232 to 551, 0.766 at most; then it falls, trained too long.
_add(
    "rotten-tomatoes-textcnn",
    "bench.workloads.text_classification:ROTTEN_TOMATOES_TEXTCNN",
    about="Convolutions over words (Kim 2014) on 8,530 sentences of film reviews: positive or negative",
    target=0.75,
    batch_size=64,
    train_steps=464,
    recover_steps=46,
    student_steps=232,
    datasets=("movie-reviews",),
    optimizer="adamw:lr=1e-3",
)
# Measured with seed 0: 0.803 after 38 steps, 0.818 after 76.
_add(
    "rotten-tomatoes-minilm",
    "bench.workloads.text_classification:ROTTEN_TOMATOES_MINILM",
    about="Pretrained MiniLM-L6 (Wang et al. 2020), fine-tuned on the same sentences",
    target=0.80,
    batch_size=32,
    train_steps=464,
    recover_steps=46,
    student_steps=186,
    evaluations_per_epoch=6,
    datasets=("movie-reviews", "minilm"),
    optimizer="adamw:lr=5e-5",
    needs=("transformers", "tokenizers"),
    install="pip install 'dl-efficiency-bench[workloads]'",
)
# Measured with seed 0: 0.737 or more from step 672 on, 0.755 at step 896, where it ended.
_add(
    "wordnet-supersense-transformer",
    "bench.workloads.text_classification:WORDNET_SUPERSENSE_TRANSFORMER",
    about="A small transformer on 117,659 definitions of WordNet: which of 45 supersenses is defined",
    target=0.73,
    batch_size=64,
    train_steps=1344,
    recover_steps=134,
    student_steps=672,
    evaluations_per_epoch=16,
    datasets=("wordnet",),
    optimizer="adamw:lr=1e-3",
    needs=("transformers",),
    install="pip install 'dl-efficiency-bench[workloads]'",
)
# Measured with seed 0: 0.452 at step 600, 0.475 at 850, 0.513 at 1,450; what follows the character before
# most often is right of 0.182.
_add(
    "wordnet-bert",
    "bench.workloads.masked_language_model:WORDNET_BERT",
    about="A small BERT with rotary positions (Su et al. 2021) on WordNet: predict masked characters",
    target=0.47,
    batch_size=64,
    train_steps=1500,
    recover_steps=150,
    student_steps=600,
    evaluations_per_epoch=16,
    datasets=("wordnet",),
    optimizer="adamw:lr=1e-3",
    needs=("transformers",),
    install="pip install 'dl-efficiency-bench[workloads]'",
)

# Measured with seed 0: F1 0.362, 0.797, 0.864 after 125, 250, 375 steps; the usual answer has 0.364.
_add(
    "factbook-minilm",
    "bench.workloads.question_answering:FACTBOOK_MINILM",
    about="MiniLM-L6 fine-tuned to find answers in the World Factbook, as BERT on SQuAD",
    quality_metric="f1",
    target=0.75,
    batch_size=16,
    train_steps=500,
    recover_steps=50,
    student_steps=500,
    datasets=("world-factbook", "minilm"),
    optimizer="adamw:lr=1e-4",
    needs=("transformers", "tokenizers"),
    install="pip install 'dl-efficiency-bench[workloads]'",
)
# Measured with seed 0: F1 0.323, 0.435, 0.502, 0.521 after 125 to 500 steps, 0.613 after 1,250; the usual
# answer has 0.364.
_add(
    "factbook-bert",
    "bench.workloads.question_answering:FACTBOOK_BERT",
    about="A 3-layer BERT trained from scratch to find answers in passages of the World Factbook",
    quality_metric="f1",
    target=0.5,
    batch_size=32,
    train_steps=1250,
    recover_steps=125,
    student_steps=1250,
    evaluations_per_epoch=2,
    datasets=("world-factbook", "minilm"),
    optimizer="adamw:lr=1e-3",
    needs=("transformers", "tokenizers"),
    install="pip install 'dl-efficiency-bench[workloads]'",
)

# Measured with seed 0: 0.736, 0.843, 0.864, 0.886, 0.893, 0.907 after 28 to 168 steps; the nearest question
# by words has 0.614. That was before nearly equal questions were kept in one part, and is not measured since.
_add(
    "service-topics-minilm",
    "bench.workloads.text_classification:SERVICE_TOPICS_MINILM",
    about="Customer service: MiniLM-L6 fine-tuned to say which of 16 topics a question is about",
    target=0.88,
    batch_size=16,
    train_steps=168,
    recover_steps=17,
    student_steps=67,
    evaluations_per_epoch=1,
    datasets=("chatterbot-corpus", "minilm"),
    optimizer="adamw:lr=1e-4",
    needs=("transformers", "tokenizers", "yaml"),
    install="pip install 'dl-efficiency-bench[workloads]'",
)
# MiniLM as it comes has 0.580 in validation and 0.533 of the test's, most words in common 0.18. The target
# is not measured on these parts: trained on others, which shared questions, it rose from 0.573 to 0.607.
_add(
    "service-answers-minilm",
    "bench.workloads.customer_service:SERVICE_ANSWERS_MINILM",
    about="Customer service: MiniLM-L6 fine-tuned to find the right answer to a question among 150",
    quality_metric="hit_rate_at_1",
    target=0.60,
    batch_size=32,
    train_steps=84,
    recover_steps=8,
    student_steps=34,
    evaluations_per_epoch=1,
    datasets=("chatterbot-corpus", "minilm"),
    optimizer="adamw:lr=5e-5",
    needs=("transformers", "tokenizers", "yaml"),
    install="pip install 'dl-efficiency-bench[workloads]'",
)

# One training reached 0.0709 after 738 steps and 0.0766 after 820, where it stopped and still rose; its
# translations then had 19.0 BLEU, those of the nearest training pairs 14.6.
_add(
    "libreoffice-en-de-transformer",
    "bench.workloads.machine_translation:LIBREOFFICE_EN_DE_TRANSFORMER",
    about="Transformer of 3 + 3 layers (Vaswani et al. 2017) from English to German, on LibreOffice's help",
    quality_metric="likelihood",
    target=0.07,
    batch_size=64,
    train_steps=1500,
    recover_steps=150,
    student_steps=750,
    datasets=("libreoffice-help",),
    optimizer="adamw:lr=1e-3",
    needs=("sacrebleu", "tokenizers"),
    install="pip install 'dl-efficiency-bench[workloads]'",
)
