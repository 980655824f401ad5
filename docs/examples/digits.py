# %% [markdown]
# # An image classifier: do shifted copies help, and where?
#
# Two networks learn the 8x8 digits that come with scikit-learn: one from the images as they are, one from images
# shifted by a pixel as well. Both write their predictions of 600 images that they have not seen. Is the second better,
# on which digits, and may it ship?

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import fastxent as fx

images, labels = load_digits(return_X_y=True)
train, test = train_test_split(np.arange(len(labels)), test_size=600, stratify=labels, random_state=0)


# %% [markdown]
# ## Train


# %%
def shifted(x, down, right):
    """Images moved by some pixels; what leaves on one side is lost, what comes in is empty."""
    padded = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    return padded[:, 1 - down : 9 - down, 1 - right : 9 - right].reshape(-1, 64)


def fitted(x, y):
    """A small network, fitted to images."""
    return MLPClassifier((32,), max_iter=200, early_stopping=True, random_state=0).fit(x / 16, y)


moves = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
plain = fitted(images[train], labels[train])
shifts = fitted(np.concatenate([shifted(images[train], *move) for move in moves]), np.tile(labels[train], len(moves)))

# %% [markdown]
# ## Dump
#
# The network gives probabilities; a file says itself what it holds, and carries what the rows can be sliced by.

# %%
ink = np.array(["light", "medium", "heavy"])[np.digitize(images.sum(axis=1), [290, 335])]


def dump(path, model):
    """The predictions of a model, with the columns that rows are found and grouped by."""
    with fx.PredictionWriter(path, form="probs", class_names=map(str, range(10)), overwrite=True) as writer:
        for rows in np.array_split(test, 6):
            writer.write(model.predict_proba(images[rows] / 16), target=labels[rows], id=rows, ink=ink[rows])


dump("plain.parquet", plain)
dump("shifts.parquet", shifts)

# %% [markdown]
# ## How good is it, and where does it fail?

# %%
ev = fx.evaluate("shifts.parquet", group_by="ink", worst=5, keep="id")
ev

# %%
print(ev.class_report())

# %%
ev.plot("confusion")
# %% [markdown]
# ## Is it better than the plain one?
#
# The same images, paired by their ids: A is plain, B has seen shifts. A positive difference is B's gain.

# %%
result = fx.compare("plain.parquet", "shifts.parquet", on="id", group_by="ink")
result

# %%
result.plot("groups")
# %% [markdown]
# ## The answer

# %%
delta = result.delta
sure = f"95 %: {delta.ci_low:.3f} to {delta.ci_high:.3f}, p = {delta.p_value:.2g}"
print(f"Shifts save {delta.mean:.3f} nats an image ({sure}).")
print("Ship it." if delta.ci_low > 0 and ev.accuracy > 0.9 else "Not yet.")
