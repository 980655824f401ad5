# %% [markdown]
# # A tabular model: may trees replace the regression?
#
# A logistic regression has told malign tumours from benign ones so far (the breast cancer data that come with scikit-
# learn). Boosted trees shall replace it, if their probabilities are as good, of small tumours as well. Every prediction
# is out of sample (ten folds).

# %%
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastxent as fx

cancer = load_breast_cancer()
benign = cancer.target
folds = StratifiedKFold(10, shuffle=True, random_state=0)
models = {
    "regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "trees": GradientBoostingClassifier(n_estimators=60, random_state=0),
}

# %% [markdown]
# ## Dump
#
# Decision functions are the logits of class 1 (benign).

# %%
radius = cancer.data[:, list(cancer.feature_names).index("mean radius")]
for name, model in models.items():
    logits = cross_val_predict(model, cancer.data, benign, cv=folds, method="decision_function")
    path, classes = f"{name}.parquet", ["malign", "benign"]
    with fx.PredictionWriter(path, form="logits", task="binary", class_names=classes, overwrite=True) as writer:
        writer.write(logits, target=benign, id=np.arange(len(benign)), radius=radius)

# %% [markdown]
# ## The trees alone

# %%
ev = fx.evaluate("trees.parquet", group_by="radius:q4", statistics=("ranking", "temperature"))
ev

# %%
ev.plot("reliability")
# %% [markdown]
# ## Gates
#
# What was agreed beforehand: a loss below 0.15, a calibration error below 0.05, and no quarter of the sizes with an AUC
# below 0.9. The shell's `--fail-if` takes the same words.

# %%
gates = ["loss > 0.15", "calibration.ece > 0.05", "any(groups.radius).auc < 0.9"]
ev.to_html("trees.html", gates=gates)
for group in ev.groups.to_pylist():
    print(group["radius"], group["count"], "tumours, loss", round(group["loss"], 4), "AUC", round(group["auc"], 4))

# %% [markdown]
# ## Against the regression
#
# Tumour by tumour; A is the regression, B the trees.

# %%
result = fx.compare("regression.parquet", "trees.parquet", on="id", group_by="radius:8,12,14,16", permutations=999)
result

# %% [markdown]
# ## The answer

# %%
delta = result.delta
better = "better" if delta.ci_low > 0 else "worse" if delta.ci_high < 0 else "neither better nor worse beyond chance"
print(f"The trees are {better}: {-delta.mean:+.4f} nats (95 %: {-delta.ci_high:+.4f} to {-delta.ci_low:+.4f}).")
best = ev.temperature
print(f"Logits divided by {best.best:g} would have a loss of {best.loss:.4f} in place of {ev.loss:.4f}.")
