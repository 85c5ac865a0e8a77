"""What each compression does to outputs, and to which groups of test items, by the same backend's none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.analysis.groups import Column, gaps_between_groups, worst_group
from reports.frames.paired import Pair
from reports.frames.view import INFER_AXES, TRAIN_AXES, RunView

CLEAN = "clean"
"""What the test items without corruption are called."""

_AXES = (*TRAIN_AXES.values(), *INFER_AXES.values())
_CALIBRATION = ("ece", "brier", "nll")
_COLUMNS = (
    *("cell", *_AXES, "paired_metric", "items", "quality", "quality_uncompressed"),
    *("paired_loss_points", "paired_loss_points_low", "paired_loss_points_high", "p_value", "paired_method"),
    *("items_lost", "items_won", "kl_divergence", "top5_agreement"),
    *(f"{name}{ending}" for name in _CALIBRATION for ending in ("", "_low", "_high", "_uncompressed")),
    *("worst_column", "worst_group", "worst_group_points", "worst_group_q_value"),
    *("groups_tested", "groups_flagged", "evaluate_key"),
)
_GROUP_COLUMNS = (
    *("cell", *_AXES, "column", "group", "items", "score", "score_uncompressed"),
    *("loss_points", "loss_points_low", "loss_points_high", "p_value", "q_value", "flagged"),
)
_GAP_COLUMNS = ("cell", *_AXES, "column", "groups", "gap_points", "gap_points_uncompressed")
_ROBUSTNESS_COLUMNS = (
    *("cell", *_AXES, "corruption", "quality", "quality_clean", "relative_quality"),
    *("relative_quality_uncompressed", "change_points"),
)
_ATTRIBUTION_COLUMNS = ("cell", *_AXES, "of_items", "items", "agreement", "agreement_low", "agreement_high")


def fidelity_table(view: RunView, pairs: list[Pair]) -> pd.DataFrame:
    """Return one row for each compressed cell whose uncompressed twin is measured.

    `paired_loss_points` is quality lost to the twin on the same test items, with `p_value` of no loss;
    `items_lost` and `items_won` are items that became wrong and right. `worst_group` loses most, and
    `groups_flagged` lose more than chance explains, of all `groups_tested` together.
    """
    return pd.DataFrame([_row(view, pair) for pair in pairs], columns=list(_COLUMNS))


def groups_table(pairs: list[Pair]) -> pd.DataFrame:
    """Return one row for each compressed cell × column × group of the test data.

    `score` is the share of right answers, or minus the squared error where answers are numbers; its loss is
    in hundredths. `q_value` is the rate of false discoveries at which the group loses.
    """
    return pd.DataFrame([row for pair in pairs for row in _group_rows(pair)], columns=list(_GROUP_COLUMNS))


def gaps_table(pairs: list[Pair]) -> pd.DataFrame:
    """Return one row for each compressed cell × column: the score of its best group less that of its worst.

    It is fairlearn's; empty where that is not installed.
    """
    return pd.DataFrame(list(_gap_rows(pairs)), columns=list(_GAP_COLUMNS))


def robustness_table(view: RunView, pairs: list[Pair]) -> pd.DataFrame:
    """Return one row for each compressed cell × corruption of the test items, where the matrix asks for it.

    `relative_quality` is the quality over that of the same items uncorrupted; `change_points` is how much
    less of it is left than of the uncompressed twin's, in hundredths.
    """
    rows = [row for pair in pairs for row in _corruption_rows(view, pair)]
    return pd.DataFrame(rows, columns=list(_ROBUSTNESS_COLUMNS))


def attribution_table(view: RunView, pairs: list[Pair]) -> pd.DataFrame:
    """Return the rank agreement of attributions with the uncompressed model's, of all and flipped items."""
    rows = []
    for pair in pairs:
        key = _stage(view, pair.row, "attribution")
        for qualifier in view.qualifiers(key, "attribution_agreement"):
            found = view.reading(key, "attribution_agreement", qualifier)
            count = view.value(key, "attribution_items", qualifier)
            rows.append(
                {
                    **_place(pair.row),
                    **{"of_items": qualifier, "items": count, "agreement": found.value},
                    **{"agreement_low": found.low, "agreement_high": found.high},
                }
            )
    return pd.DataFrame(rows, columns=list(_ATTRIBUTION_COLUMNS))


def _row(view: RunView, pair: Pair) -> dict[str, Any]:
    own, before = str(pair.row["evaluate_key"]), str(pair.twin["evaluate_key"])
    worst, loss = worst_group(pair.groups), pair.loss
    return {
        **_place(pair.row),
        "paired_metric": pair.metric,
        "quality": pair.row["quality"],
        "quality_uncompressed": pair.twin["quality"],
        **_loss_columns("paired_loss_points", pair),
        "items": loss.items if loss else None,
        "p_value": loss.p if loss else None,
        "paired_method": loss.method if loss else "",
        "items_lost": loss.lost if loss else None,
        "items_won": loss.won if loss else None,
        **{name: view.value(own, name) for name in ("kl_divergence", "top5_agreement")},
        **{column: value for name in _CALIBRATION for column, value in _calibrated(view, own, before, name)},
        "worst_column": worst.column if worst else "",
        "worst_group": worst.group if worst else "",
        "worst_group_points": 100 * worst.loss.value if worst else None,
        "worst_group_q_value": worst.q if worst else None,
        "groups_tested": sum(group.q is not None for group in pair.groups),
        "groups_flagged": sum(group.flagged for group in pair.groups) if pair.groups else None,
        "evaluate_key": own,
    }


def _calibrated(view: RunView, own: str, before: str, name: str) -> Iterator[tuple[str, float | None]]:
    found = view.reading(own, name)
    yield from ((name, found.value), (f"{name}_low", found.low), (f"{name}_high", found.high))
    yield f"{name}_uncompressed", view.value(before, name)


def _loss_columns(name: str, pair: Pair) -> dict[str, float | None]:
    loss = pair.loss
    values = (loss.value, loss.low, loss.high) if loss else (None, None, None)
    ends = ("", "_low", "_high")
    return {
        f"{name}{end}": None if value is None else 100 * value
        for end, value in zip(ends, values, strict=True)
    }


def _group_rows(pair: Pair) -> Iterator[dict[str, Any]]:
    for group in pair.groups:
        loss = group.loss
        yield {
            **_place(pair.row),
            **{"column": group.column, "group": group.group, "items": loss.items},
            **{"score": group.after, "score_uncompressed": group.before},
            "loss_points": 100 * loss.value,
            "loss_points_low": None if loss.low is None else 100 * loss.low,
            "loss_points_high": None if loss.high is None else 100 * loss.high,
            **{"p_value": loss.p, "q_value": group.q, "flagged": group.flagged},
        }


def _gap_rows(pairs: list[Pair]) -> Iterator[dict[str, Any]]:
    """Yield the gaps of pairs, those with one column of the same items together."""
    together: dict[tuple[str, bytes], list[tuple[Pair, Column]]] = {}
    for pair in pairs:
        for column in pair.columns:
            same = (f"{column.name}{column.groups}", column.numbers.tobytes())
            together.setdefault(same, []).append((pair, column))
    for members in together.values():
        column = members[0][1]
        values = [each for pair, _ in members for each in (pair.after, pair.before)]
        found = gaps_between_groups(values, column) or []
        for (pair, _), own, before in zip(members, found[::2], found[1::2], strict=bool(found)):
            yield {
                **_place(pair.row),
                **{"column": column.name, "groups": len(column.groups)},
                **{"gap_points": 100 * own, "gap_points_uncompressed": 100 * before},
            }


def _corruption_rows(view: RunView, pair: Pair) -> Iterator[dict[str, Any]]:
    own, before = (_stage(view, row, "robustness") for row in (pair.row, pair.twin))
    clean = view.value(own, "corrupted_quality", CLEAN)
    for name in view.qualifiers(own, "corrupted_quality"):
        if name == CLEAN:
            continue
        quality = view.value(own, "corrupted_quality", name)
        relative, twins = (_relative(view, key, name) for key in (own, before))
        yield {
            **_place(pair.row),
            **{"corruption": name, "quality": quality, "quality_clean": clean},
            **{"relative_quality": relative, "relative_quality_uncompressed": twins},
            "change_points": None if relative is None or twins is None else 100 * (relative - twins),
        }


def _relative(view: RunView, key: str, corruption: str) -> float | None:
    quality, clean = (view.value(key, "corrupted_quality", name) for name in (corruption, CLEAN))
    return quality / clean if quality is not None and clean is not None and clean > 0 else None


def _place(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in ("cell", *_AXES)}


def _stage(view: RunView, row: Any, kind: str) -> str:
    return view.stage_of(str(row["cell"]), kind)
