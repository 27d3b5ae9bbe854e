"""LightGBM regression: tuning on the validation part, then a refit that includes it."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import lightgbm
import numpy as np

from rho2prop.core.targets import TARGETS
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.estimator import Fitting, FoldData, Predictions
from rho2prop.models.settings import BoostingSettings

if TYPE_CHECKING:
    import optuna  # to fit only

PRUNING_DISTANCE = 0.5  # trials are compared at equal learning rate × rounds, so that slow learners are not cut


class Boosting:
    """One LightGBM model per target; ``records`` say how each was selected."""

    def __init__(self, boosters: dict[str, lightgbm.Booster] | None = None):
        self.boosters = boosters or {}
        self.records: dict[str, dict] = {}

    def fit(self, data: FoldData, fitting: Fitting) -> Predictions:
        unseen = {}
        for target in data.targets:
            train, train_target, validation, validation_target = data.known(target)
            self.boosters[target], self.records[target], values = fit(
                train,
                train_target,
                validation,
                validation_target,
                TARGETS[target].learns_logarithm,
                fitting.settings,
                fitting.seed(target),
                fitting.threads,
            )
            unseen[target] = data.on_validation_rows(target, values)
            fitting.advance(1)
        return unseen

    def predict(self, matrix: DesignMatrix) -> Predictions:
        return {target: np.asarray(booster.predict(matrix.tabular)) for target, booster in self.boosters.items()}

    def save(self, folder: Path) -> None:
        for target, booster in self.boosters.items():
            booster.save_model(folder / f"{target}.txt")
        (folder / "boosting.json").write_text(json.dumps(self.records, indent=1))

    @classmethod
    def load(cls, folder: Path, targets: list[str]) -> Self:
        return cls({target: lightgbm.Booster(model_file=folder / f"{target}.txt") for target in targets})


def fit(
    train: np.ndarray,
    train_target: np.ndarray,
    validation: np.ndarray,
    validation_target: np.ndarray,
    learns_logarithm: bool,
    settings: BoostingSettings,
    seed: int,
    threads: int,
) -> tuple[lightgbm.Booster, dict, np.ndarray]:
    """Tune and fit one target.

    Parameters
    ----------
    train, validation
        Features, shape (N, F), of rows that have the label.
    train_target, validation_target
        Labels, shape (N,).
    learns_logarithm
        Whether the trees add up to the logarithm of the target (Tweedie deviance, power 1.5, between Poisson's and
        gamma's): no prediction is below zero, and the largest values do not decide alone.
    settings
        Budget and learning rates; the other ranges are those of the paper's authors, but that trees may draw from
        fewer columns.
    seed
        Seed of the search and of row and column sampling.
    threads
        Threads of LightGBM.

    Returns
    -------
    lightgbm.Booster
        Fitted on training plus validation, with the rounds scaled by the number of rows.
    dict
        Chosen parameters, rounds, validation RMSE and numbers of trials.
    numpy.ndarray
        Predictions for the validation rows by the best trial, which has not learned them, shape (N,).
    """
    import optuna

    fixed = {
        "objective": "tweedie" if learns_logarithm else "regression",
        "metric": "rmse",
        "verbosity": -1,
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "max_bin": settings.max_bin,
        "min_data_in_bin": 1 if len(train) < 100 else 3,
        "feature_pre_filter": False,  # one data set serves trials with different min_child_samples
        "bagging_freq": 1,
    }
    train_set = lightgbm.Dataset(train, train_target, params=fixed, free_raw_data=False).construct()
    validation_set = train_set.create_valid(validation, validation_target, params=fixed).construct()
    most_child = max(2, min(100, len(train) // 4))
    best_rmse = math.inf
    best_booster: lightgbm.Booster | None = None

    def objective(trial: optuna.Trial) -> float:
        nonlocal best_rmse, best_booster
        searched = {
            "learning_rate": trial.suggest_float("learning_rate", *settings.learning_rate, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 31, 255, log=True),
            "max_depth": trial.suggest_int("max_depth", 5, 15),
            "min_child_samples": trial.suggest_int("min_child_samples", min(5, most_child), most_child, log=True),
            "subsample": trial.suggest_float("subsample", 0.6, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
            "lambda_l1": trial.suggest_float("lambda_l1", 1e-8, 1.0, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 1e-8, 1.0, log=True),
        }
        booster = lightgbm.train(
            fixed | searched,
            train_set,
            settings.max_rounds,
            valid_sets=[validation_set],
            callbacks=[lightgbm.early_stopping(settings.patience, verbose=False), _pruning(trial)],
        )
        trial.set_user_attr("best_iteration", booster.best_iteration)
        rmse = booster.best_score["valid_0"]["rmse"]
        if rmse < best_rmse:
            best_rmse, best_booster = rmse, booster
        return rmse

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    n_random = max(2, settings.n_trials // 3)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_random),
        pruner=optuna.pruners.PercentilePruner(35.0, n_startup_trials=n_random),
    )
    study.enqueue_trial(
        {
            "learning_rate": math.sqrt(math.prod(settings.learning_rate)),
            "num_leaves": 31,
            "max_depth": 10,
            "min_child_samples": min(10, most_child),
            "subsample": 0.8,
            "colsample_bytree": 0.3,
        }
    )
    study.optimize(objective, n_trials=settings.n_trials)

    n_train, n_all = len(train), len(train) + len(validation)
    rounds = max(1, round(study.best_trial.user_attrs["best_iteration"] * n_all / n_train))
    everything = lightgbm.Dataset(
        np.vstack([train, validation]), np.concatenate([train_target, validation_target]), params=fixed
    )
    booster = lightgbm.train(fixed | study.best_params, everything, rounds)
    record = {
        "parameters": study.best_params,
        "rounds": rounds,
        "validation_rmse": study.best_value,
        "n_trials": len(study.trials),
        "n_trials_cut_short": len(study.get_trials(states=[optuna.trial.TrialState.PRUNED])),
    }
    if best_booster is None:
        raise FloatingPointError("the validation RMSE was never finite in any trial")
    unseen = np.asarray(best_booster.predict(validation, num_iteration=best_booster.best_iteration))
    return booster, record, unseen


def _pruning(trial: "optuna.Trial") -> Callable[[lightgbm.callback.CallbackEnv], None]:
    from optuna import TrialPruned

    best, last_step = math.inf, 0

    def callback(environment: lightgbm.callback.CallbackEnv) -> None:
        nonlocal best, last_step
        results = environment.evaluation_result_list
        assert results  # there is a validation set
        best = min(best, results[0][2])
        distance = (environment.iteration + 1) * trial.params["learning_rate"]
        step = int(distance / PRUNING_DISTANCE)
        if step > last_step:
            last_step = step
            trial.report(best, step)
            if trial.should_prune():
                raise TrialPruned

    callback.order = 40  # type: ignore[attr-defined]  # LightGBM reads it: after early stopping
    return callback
