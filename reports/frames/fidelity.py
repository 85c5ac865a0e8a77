"""What each compression does to outputs, and to which groups of test items, by the same backend's none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.analysis.corruptions import CLEAN, Corrupted, corruption_losses
from bench.analysis.groups import Column, gaps_between_groups, worst_group
from reports.frames.inference import values_of
from reports.frames.paired import Pair, Row
from reports.frames.view import INFER_AXES, TRAIN_AXES, RunView

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
    *("relative_quality_uncompressed", "change_points", "change_points_low", "change_points_high"),
    *("p_value", "q_value", "flagged"),
)
_ATTRIBUTION_COLUMNS = ("cell", *_AXES, "of_items", "items", "agreement", "agreement_low", "agreement_high")


def fidelity_table(view: RunView, pairs: list[Pair]) -> pd.DataFrame:
    """Return one row for each compressed cell whose uncompressed twin is measured.

    `paired_loss_points` is quality lost to the twin on the same test items, with `p_value` of no loss;
    `items_lost` and `items_won` are items that became wrong and right. `worst_group` loses most, and
    `groups_flagged` lose more than chance explains, of all `groups_tested` together.
    """
    own, before = ([str(row["evaluate_key"]) for row in rows] for rows in _sides(pairs))
    columns: dict[str, list[Any]] = {
        **{name: [pair.row[name] for pair in pairs] for name in ("cell", *_AXES, "quality", "evaluate_key")},
        "quality_uncompressed": [pair.twin["quality"] for pair in pairs],
        "paired_metric": [pair.metric for pair in pairs],
        **_losses(pairs),
        **{name: values_of(view, name, own) for name in ("kl_divergence", "top5_agreement")},
        **_groups(pairs),
    }
    for name in _CALIBRATION:
        readings = [view.reading(key, name) for key in own]
        columns[name] = [found.value for found in readings]
        columns |= {f"{name}_low": [found.low for found in readings]}
        columns |= {f"{name}_high": [found.high for found in readings]}
        columns[f"{name}_uncompressed"] = values_of(view, name, before)
    return pd.DataFrame(columns, columns=list(_COLUMNS))


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
    more of it is left than of the uncompressed twin's, in hundredths. `flagged`: less is left, by more than
    chance explains, with false discoveries controlled over all corruptions of the cell.
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


def _sides(pairs: list[Pair]) -> tuple[list[Row], list[Row]]:
    return [pair.row for pair in pairs], [pair.twin for pair in pairs]


def _losses(pairs: list[Pair]) -> dict[str, list[Any]]:
    """Return what each pair lost, by column."""
    losses = [pair.loss for pair in pairs]
    names = {"items": "items", "p_value": "p", "items_lost": "lost", "items_won": "won"}
    found = {column: [loss and getattr(loss, name) for loss in losses] for column, name in names.items()}
    for name, end in (("value", ""), ("low", "_low"), ("high", "_high")):
        values = (getattr(loss, name) if loss else None for loss in losses)
        found[f"paired_loss_points{end}"] = [None if value is None else 100 * value for value in values]
    return found | {"paired_method": [loss.method if loss else "" for loss in losses]}


def _groups(pairs: list[Pair]) -> dict[str, list[Any]]:
    """Return the worst group of each pair, and how many were tested and flagged, by column."""
    worst = [worst_group(pair.groups) for pair in pairs]
    return {
        "worst_column": [group.column if group else "" for group in worst],
        "worst_group": [group.group if group else "" for group in worst],
        "worst_group_points": [100 * group.loss.value if group else None for group in worst],
        "worst_group_q_value": [group.q if group else None for group in worst],
        "groups_tested": [sum(group.q is not None for group in pair.groups) for pair in pairs],
        "groups_flagged": [
            sum(group.flagged for group in pair.groups) if pair.groups else None for pair in pairs
        ],
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
    losses = corruption_losses(_corrupted(view, before), _corrupted(view, own))
    for name in view.qualifiers(own, "corrupted_quality"):
        if name == CLEAN:
            continue
        relative, twins = (_relative(view, key, name) for key in (own, before))
        loss = losses.get(name)
        low, high = (loss.loss.low, loss.loss.high) if loss else (None, None)
        yield {
            **_place(pair.row),
            **{"corruption": name, "quality": view.value(own, "corrupted_quality", name)},
            **{"quality_clean": clean, "relative_quality": relative, "relative_quality_uncompressed": twins},
            "change_points": None if relative is None or twins is None else 100 * (relative - twins),
            "change_points_low": None if high is None else -100 * high,
            "change_points_high": None if low is None else -100 * low,
            "p_value": loss.loss.p if loss else None,
            "q_value": loss.q if loss else None,
            "flagged": loss.flagged if loss else None,
        }


def _corrupted(view: RunView, key: str) -> dict[str, Corrupted]:
    """Return what a stage measured under each corruption, and what it kept of the items."""
    found = {}
    for name in view.qualifiers(key, "corrupted_quality"):
        quality, kept = view.value(key, "corrupted_quality", name), view.of_items(key, "item_corrupted", name)
        if quality is not None and kept is not None:
            found[name] = Corrupted(quality, kept[1], kept[0])
    return found


def _relative(view: RunView, key: str, corruption: str) -> float | None:
    quality, clean = (view.value(key, "corrupted_quality", name) for name in (corruption, CLEAN))
    return quality / clean if quality is not None and clean is not None and clean > 0 else None


def _place(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in ("cell", *_AXES)}


def _stage(view: RunView, row: Any, kind: str) -> str:
    return view.stage_of(str(row["cell"]), kind)
