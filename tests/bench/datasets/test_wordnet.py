from bench.datasets.labelled_texts import split
from bench.datasets.wordnet import definitions

LINES = (
    "  1 This software and database is being provided to you, the LICENSEE, by  ",
    '00002684 03 n 02 object 0 physical_object 0 001 ~ 00003553 n 0000 | a tangible thing; "it was full of '
    'balls; "and other objects"  ',
    "00016573 29 v 01 nod 2 001 @ 00016380 v 0000 02 + 01 00 + 02 00 | be almost asleep  ",
    "00001740 00 a 01 or 0 000 | one (of two | three); usually  ",
)


def test_a_definition_has_its_supersense_and_no_example() -> None:
    assert list(definitions(LINES)) == [
        ("a tangible thing", 3),
        ("be almost asleep", 29),
        ("one (of two | three); usually", 0),
    ]


def test_of_texts_that_differ_in_case_and_marks_one_is_kept() -> None:
    texts = split([("A bird.", 1), ("a  bird", 2), ("a fish", 3)], test_count=1)
    both = dict(
        zip(
            texts.validation_texts + texts.test_texts,
            [*texts.validation_labels, *texts.test_labels],
            strict=True,
        )
    )
    assert both == {"A bird.": 1, "a fish": 3}
    assert len(texts.test_texts) == 1 and not texts.train_texts


def test_the_split_does_not_depend_on_the_order_of_the_texts() -> None:
    pairs = [(f"text {number}", number) for number in range(50)]
    one, other = split(pairs, test_count=10), split(pairs[::-1], test_count=10)
    assert one.test_texts == other.test_texts and one.train_texts == other.train_texts
    assert one.validation_texts == other.validation_texts and len(one.validation_texts) == 10
    assert len({*one.train_texts, *one.validation_texts, *one.test_texts}) == 50
    assert [f"text {label}" for label in one.test_labels] == list(one.test_texts)
