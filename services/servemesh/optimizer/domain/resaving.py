"""How to save a program again so that reading it runs no code: one sentence per format."""

from __future__ import annotations

TORCH = (
    "Export it as data: torch.export.save(torch.export.export(model.eval(), example_inputs, dynamic_shapes=...), "
    "'model.pt2')."
)
OLD_TORCH_EXPORT = (
    "Save it again with a newer torch: torch.export.save(torch.export.load('old.pt2'), 'model.pt2'), "
    "where you trust the file."
)
HUGGING_FACE = "Save it again where you trust it: model.save_pretrained('folder', safe_serialization=True)."
SKLEARN = "Save the fitted estimator with skops: skops.io.dump(model, 'model.skops')."
KERAS = "Save it again where you trust it: keras.models.load_model('model.h5').save('model.keras')."
KERAS_CODE = "Put what it does into layers that Keras has (keras.layers), and save it again as .keras."
TENSORFLOW = "Save it as a SavedModel folder: tf.saved_model.save(model, 'folder')."
XGBOOST = "Save it again as JSON: booster.save_model('model.json')."
KNOWN = (
    "What is converted: a torch.export program (.pt2), a Hugging Face folder with safetensors, a Keras 3 archive "
    "(.keras), a TensorFlow SavedModel folder, a scikit-learn estimator saved by skops, XGBoost JSON or UBJSON, "
    "LightGBM text. An ONNX model is pushed as it is."
)


def of_pickle(title: str) -> str:
    """What to do instead of giving the pickle that was called `title`."""
    if "joblib" in title or "compressed" in title:
        return SKLEARN
    if "PyTorch" in title or "TorchScript" in title:
        return TORCH
    return f"If it is a scikit-learn estimator: {SKLEARN} If it is a PyTorch model: {TORCH}"


def of_title(title: str, advice: str) -> str:
    """What to do with a file of a format that is known and not converted; `advice` is the general one."""
    if "HDF5" in title:
        return KERAS
    if "XGBoost" in title:
        return XGBOOST
    if "TensorFlow" in title:
        return TENSORFLOW
    if "safetensors" in title:
        return f"These are weights without their network. {HUGGING_FACE} Or: {TORCH}"
    return f"{advice[:1].upper()}{advice[1:]}. {KNOWN}"
