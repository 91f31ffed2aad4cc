"""What is sampled of the rows that pass: histograms of features, and nothing where it is not asked for."""

from collections.abc import Mapping, Sequence

import numpy as np

from servemesh.observe import metrics
from servemesh.worker.service.drift_samples import FEATURES_MAX, SampledRuntime
from servemesh.worker.service.execution import Array, Stop


class DoublingRuntime:
    """Gives back twice what it gets."""

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        (array,) = inputs.values()
        return [array * 2 if array.dtype.kind in "fi" else array for _ in outputs]


def sampled(model: str, share: float) -> SampledRuntime:
    return SampledRuntime(DoublingRuntime(), model=model, version_id=1, share=share, chance=lambda: 0.5)


def told(model: str) -> dict[tuple[str, str, str], float]:
    """Return how many values were counted, by tensor, feature and sign."""
    found = {}
    for line in metrics.exposition().decode().splitlines():
        if line.startswith("servemesh_worker_feature_values_count{") and f'model="{model}"' in line:
            labels = dict(part.split("=") for part in line.partition("{")[2].partition("}")[0].split(","))
            key = tuple(labels[name].strip('"') for name in ("tensor", "feature", "kind"))
            found[key] = float(line.rpartition(" ")[2])
    return found


def test_features_of_a_row_are_counted_by_sign_for_inputs_and_outputs():
    runtime = sampled("both", share=1.0)
    rows = np.array([[0.0, 0.0], [1.5, -2.5]], np.float32)
    (answer,) = runtime.run({"x": rows}, ["y"], Stop())
    assert (answer == rows * 2).all()
    counts = told("both")
    assert counts["x", "0", "positive"] == counts["y", "0", "positive"] == 1
    assert counts["x", "1", "negative"] == 1
    assert counts["x", "-1", "positive"] == counts["x", "-1", "negative"] == 1


def test_only_the_share_that_is_asked_for_is_looked_at():
    runtime = sampled("few", share=0.1)
    runtime.run({"x": np.ones((4, 1))}, ["y"], Stop())
    assert told("few") == {}
    runtime.run({"x": np.ones((6, 1))}, ["y"], Stop())
    assert told("few")["x", "0", "positive"] == 1


def test_wide_rows_text_and_what_is_not_finite_cost_no_series():
    runtime = sampled("odd", share=1.0)
    wide = np.ones((1, 1000))
    wide[0, 3] = np.nan
    runtime.run({"x": wide}, ["y"], Stop())
    runtime.run({"text": np.array([["secret"]], dtype=object)}, ["text"], Stop())
    features = {feature for tensor, feature, _ in told("odd") if tensor == "x"}
    assert len(features) == FEATURES_MAX  # 32 and all together, less the one that is no number
    assert "text" not in {tensor for tensor, _, _ in told("odd")}
